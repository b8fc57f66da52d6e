"""Fusion and server tools over real HTTP, with the vendors' own client libraries: what a program that speaks to Fusion today gets here."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.endpoint import ScriptedEndpoint
from tests.support.script import ANALYSIS, Behaviour, Say, Script
from tests.support.serving import KEY, Serving

PANEL = 'main = "chat:m"\n[[references]]\nmodel = "chat:alpha"\n[[references]]\nmodel = "chat:beta"\n'
FUSION = {"type": "openrouter:fusion", "parameters": {"analysis_models": ["chat:alpha", "chat:beta"]}}
READ = {"type": "function", "function": {"name": "read", "parameters": {"type": "object", "properties": {}}}}


def is_words(message: Mapping[str, Any]) -> bool:
    """Whether the user has said something, and no tool."""
    return message["role"] == "user" and "tool_result" not in str(message["content"])


def outer(body: Mapping[str, Any], _earlier: int) -> Say:
    """Compares answers or advice where it is asked to; calls the first server tool that it has, once; else answers."""
    messages = list(body["messages"])
    if "compare the a" in str(messages[-1]):
        return Say(text=json.dumps(ANALYSIS), analysis=ANALYSIS, cost=0.004)
    names = [tool.get("function", tool)["name"] for tool in body.get("tools") or ()]
    own = [name for name in names if name in ("openrouter_fusion", "moa_consult", "advisor", "openrouter_advisor")]
    turn = messages[max(at for at, message in enumerate(messages) if is_words(message)) + 1 :]
    if own and not any(message["role"] in ("tool", "user") for message in turn):
        calls = [(own[0], {"prompt": "Why?"} if own[0] != "advisor" else {})]
        return Say(tools=tuple(calls + [("read", {}) for name in names if name == "read"]), cost=0.001)
    return Say(text="It is forty-two.", cost=0.002)


MODELS: dict[str, Any] = {
    "alpha": Behaviour(steps=(Say(text="Alpha says forty-two.", cost=0.01),)),
    "beta": Behaviour(steps=(Say(text="Beta says forty-three.", cost=0.02),)),
    "m": outer,
}


@pytest.fixture
def up() -> Iterator[ScriptedEndpoint]:
    with ScriptedEndpoint(Script(models=MODELS)) as endpoint:
        yield endpoint


@pytest.fixture
def server(tmp_path: Path, up: ScriptedEndpoint) -> Iterator[Serving]:
    presets = dict.fromkeys(("p", "quality", "fast"), PANEL)
    with Serving(tmp_path, up, presets=presets, config='[moa]\npreset = "p"\n') as serving:
        yield serving


def client_of(server: Serving) -> Any:
    import openai

    return openai.OpenAI(base_url=f"{server.url}/v1", api_key=KEY, max_retries=0)


def asked(up: ScriptedEndpoint) -> list[str]:
    return [call.model for call in up.calls()]


ASK = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "How many?"}]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "more", "writes"),
    [
        ("chat:m", {"tools": [FUSION]}, "m"),
        ("chat:m", {"plugins": [{"id": "fusion", "analysis_models": ["chat:alpha", "chat:beta"]}]}, "m"),
        ("openrouter/fusion", {}, "m"),
        ("openrouter/fusion:free", {"tool_choice": "required"}, "m"),
        ("openrouter/fusion-flash", {}, "m"),
    ],
)
def test_each_packaging_on_chat(
    up: ScriptedEndpoint, server: Serving, model: str, more: dict[str, Any], writes: str
) -> None:
    body = {name: more[name] for name in ("plugins", "tools") if name in more}
    rest = {name: value for name, value in more.items() if name not in body}
    answer = client_of(server).chat.completions.create(model=model, messages=ASK, extra_body=body, **rest)
    assert answer.choices[0].message.content == "It is forty-two." and answer.model == writes, "the concrete model"
    assert sorted(asked(up)) == ["alpha", "beta", "m", "m", "m"]
    (detail,) = answer.choices[0].message.reasoning_details
    assert detail["tool_name"] == "openrouter:fusion" and json.loads(detail["result"])["status"] == "ok"
    usage = answer.usage.model_dump()
    assert usage["cost"] == pytest.approx(0.037) and usage["server_tool_use_details"]["tool_calls_executed"] == 1
    depths = {call.model: call.headers.get("x-openrouter-fusion-depth") for call in up.calls()}
    assert depths["alpha"] == depths["beta"] == "1"


@pytest.mark.slow
def test_the_plugin_is_off_for_one_request(up: ScriptedEndpoint, server: Serving) -> None:
    off = {"plugins": [{"id": "fusion", "enabled": False}]}
    answer = client_of(server).chat.completions.create(model="openrouter/fusion", messages=ASK, extra_body=off)
    assert answer.choices[0].message.content == "It is forty-two." and asked(up) == ["m"]


@pytest.mark.slow
def test_inside_of_a_panel_nothing_fans_out(up: ScriptedEndpoint, server: Serving) -> None:
    inside = {"x-openrouter-fusion-depth": "1"}
    answer = client_of(server).chat.completions.create(
        model="openrouter/fusion", messages=ASK, extra_body={"tools": [FUSION]}, extra_headers=inside
    )
    assert answer.choices[0].message.content == "It is forty-two." and asked(up) == ["m"]


def test_a_wrong_parameter_is_a_400_that_names_it(up: ScriptedEndpoint, server: Serving) -> None:
    import openai

    wrong = {"tools": [{"type": "openrouter:fusion", "parameters": {"max_tool_calls": 17}}]}
    with pytest.raises(openai.BadRequestError, match=r"tools\[0\]\.parameters\.max_tool_calls is 17"):
        client_of(server).chat.completions.create(model="chat:m", messages=ASK, extra_body=wrong)
    with pytest.raises(openai.BadRequestError, match=r"no endpoint|no key"):
        nowhere = {"tools": [{"type": "openrouter:fusion", "parameters": {"analysis_models": ["~openai/gpt-latest"]}}]}
        client_of(server).chat.completions.create(model="chat:m", messages=ASK, extra_body=nowhere)
    assert not up.calls()


def test_a_stream_on_chat_and_the_turn_after_it(up: ScriptedEndpoint, server: Serving) -> None:
    client = client_of(server)
    stream = client.chat.completions.create(
        model="openrouter/fusion", messages=ASK, stream=True, stream_options={"include_usage": True}
    )
    text, details, usage = "", [], None
    for chunk in stream:
        usage = chunk.usage or usage
        for choice in chunk.choices:
            text += choice.delta.content or ""
            details += getattr(choice.delta, "reasoning_details", None) or []
    assert text == "It is forty-two." and len(details) == 1 and usage is not None
    assert usage.model_dump()["cost"] == pytest.approx(0.037)
    up.clear()
    said = {"role": "assistant", "content": text, "reasoning_details": details}
    client.chat.completions.create(
        model="openrouter/fusion", messages=[*ASK, said, {"role": "user", "content": "Sure?"}], tool_choice="none"
    )
    sent = up.calls("m")[0].body["messages"]
    assert [message["role"] for message in sent][-4:] == ["assistant", "tool", "assistant", "user"]
    assert "Alpha says" in str(sent[-3])


@pytest.mark.slow
def test_the_clients_own_tools_are_handed_over_behind_ours(up: ScriptedEndpoint, server: Serving) -> None:
    client = client_of(server)
    answer = client.chat.completions.create(model="chat:m", messages=ASK, extra_body={"tools": [FUSION, READ]})
    message = answer.choices[0].message
    assert answer.choices[0].finish_reason == "tool_calls" and [call.function.name for call in message.tool_calls] == [
        "read"
    ]
    assert asked(up) == ["m", "alpha", "beta", "m"], "the panel first, and no further call of the model"
    said = message.model_dump(exclude_none=True)
    result = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "line"}
    after = client.chat.completions.create(
        model="chat:m", messages=[*ASK, said, result], extra_body={"tools": [FUSION, READ]}
    )
    assert after.choices[0].message.content == "It is forty-two."
    assert asked(up)[4:] == ["m"]


@pytest.mark.slow
@pytest.mark.parametrize("model", ["responses:m", "chat:m", "messages:m"])
def test_responses_with_events_over_every_upstream(up: ScriptedEndpoint, server: Serving, model: str) -> None:
    stream = client_of(server).responses.create(
        model=model,
        input="How many?",
        instructions="Be kind.",
        stream=True,
        store=False,
        extra_body={"tools": [FUSION]},
    )
    events = list(stream)
    kinds = [event.type for event in events]
    fusion = [kind.removeprefix("response.fusion_call.") for kind in kinds if kind.startswith("response.fusion_call.")]
    assert fusion[0] == "in_progress" and fusion[-3:] == ["analysis.in_progress", "analysis.completed", "completed"]
    assert kinds[-1] == "response.completed"
    response = events[-1].response.model_dump(warnings=False)
    assert [item["type"] for item in response["output"]] == ["openrouter:fusion", "message"]
    assert response["output"][0]["analysis"]["blind_spots"] == ANALYSIS["blind_spots"]
    booked = server.ledger().calls()
    assert len(booked) == 5 and response["usage"]["cost"] == sum(call.cost_nano or 0 for call in booked) / 1e9


@pytest.mark.slow
@pytest.mark.parametrize("stream", [False, True])
def test_an_advisor_on_messages_is_the_users_panel(up: ScriptedEndpoint, server: Serving, stream: bool) -> None:
    import anthropic

    client = anthropic.Anthropic(base_url=server.url, api_key=KEY, max_retries=0)
    tool = {"type": "advisor_20260301", "name": "advisor", "model": "claude-opus-5-5"}
    asking: dict[str, Any] = {
        "model": "messages:m", "max_tokens": 900, "messages": [{"role": "user", "content": "How many?"}], "tools": [tool],
        "betas": ["advisor-tool-2026-03-01"],
    }  # fmt: skip
    if stream:
        with client.beta.messages.stream(**asking) as events:
            answer = events.get_final_message()
    else:
        answer = client.beta.messages.create(**asking)
    kinds = [block.type for block in answer.content]
    assert kinds == ["server_tool_use", "advisor_tool_result", "text"] and answer.stop_reason == "end_turn"
    advice = answer.content[1].model_dump()["content"]
    assert advice["type"] == "advisor_result" and "line seven is odd" in advice["text"]
    assert sorted(asked(up)) == ["alpha", "beta", "m", "m", "m"]


@pytest.mark.slow
@pytest.mark.parametrize("wire", ["chat", "responses", "messages"])
def test_fuse_asks_its_panel_and_writes(up: ScriptedEndpoint, server: Serving, wire: str) -> None:
    items = [{"role": "user", "content": "How many?"}]
    body: dict[str, Any] = {"model": "fuse/p", "input" if wire == "responses" else "messages": items}
    if wire == "messages":
        body["max_tokens"] = 100
    answer = server.post(wire, body)
    assert answer.status_code == 200 and "It is forty-two." in answer.text
    assert answer.headers["x-moa-counsel"] == "taken"
    assert asked(up) == ["alpha", "beta", "m", "m"] and "Alpha says forty-two." in str(up.calls("m")[1].body)
    assert answer.json()["usage"]["cost"] == pytest.approx(0.036)


@pytest.mark.slow
def test_the_models_are_listed(server: Serving) -> None:
    names = {model.id for model in client_of(server).models.list()}
    assert {"fuse/p", "moa/p", "openrouter/fusion", "openrouter/fusion-flash"} <= names


def test_a_panel_on_uvloop(tmp_path: Path, up: ScriptedEndpoint) -> None:
    with Serving(tmp_path, up, presets={"p": PANEL}, uvloop=True) as server:
        answer = server.post("chat", {"model": "fuse/p", "messages": ASK})
        assert answer.status_code == 200 and answer.headers["x-moa-counsel"] == "taken"
        assert sorted(asked(up)) == ["alpha", "beta", "m", "m"]


def test_a_client_that_leaves_in_mid_panel_closes_every_socket(tmp_path: Path) -> None:
    slow = {name: Behaviour(steps=(Say(text="Late.", ttft_s=60.0),)) for name in ("alpha", "beta")}
    with (
        ScriptedEndpoint(Script(models={**MODELS, **slow})) as up,
        Serving(tmp_path, up, presets={"quality": PANEL}) as server,
    ):
        body = {"model": "chat:m", "input": "How many?", "stream": True, "store": False, "tools": [FUSION]}
        with server.streamed("responses", body) as answer:
            for line in answer.iter_lines():
                if "fusion_call.panel.added" in line:
                    up.wait_for(lambda: len(up.calls("alpha")) == len(up.calls("beta")) == 1)
                    break
        up.wait_for(lambda: all(call.disconnected for name in ("alpha", "beta") for call in up.calls(name)))
