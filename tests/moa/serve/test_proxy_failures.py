"""What breaks most in proxies in front of agents (facts on preserved thinking, last bullet): a test named after each."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from tests.support import prompt
from tests.support.script import Behaviour, Say, Script
from tests.support.serving import PRESET, UPSTREAM_KEY, WIRES, Serving, body, events
from tests.support.signing import SigningEndpoint

KEYS = {"api_key": UPSTREAM_KEY}
ENDS = {"messages": "message_stop", "chat": "[DONE]", "responses": "response.completed"}
CALLS = (("read", {"path": "a"}), ("read", {"path": "b"}))
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def up() -> Iterator[SigningEndpoint]:
    with SigningEndpoint(Script(api_key=UPSTREAM_KEY)) as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def server(up: SigningEndpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    presets = {"p": PRESET.format(main="messages:m", aggregate="raw")}
    with Serving(tmp_path_factory.mktemp("proxy"), up, presets=presets) as serving:
        yield serving


@pytest.fixture(autouse=True)
def quiet(up: SigningEndpoint) -> None:
    up.script = Script(**KEYS)


def says(up: SigningEndpoint, *steps: Say, **members: Any) -> None:
    up.script = Script(models={"m": Behaviour(steps=steps), **members}, **KEYS)


TOOL = {"name": "read", "input_schema": {"type": "object"}}


def test_a_signature_refused_after_any_rewrite(server: Serving, up: SigningEndpoint) -> None:
    advice = Behaviour(steps=(Say(text="CONCERN\nThe list is empty there, and nobody looks."),))
    says(up, *(Say(text=f"Step {at}.", reasoning="Hm.", tools=(CALLS[0],)) for at in range(4)), alpha=advice)
    messages: list[Any] = [{"role": "user", "content": "Look around."}]
    for at in range(4):
        billing = {"type": "text", "text": f"x-anthropic-billing-header: cch={at};"}
        asked = {"model": "moa/p", "max_tokens": 4000, "messages": messages, "tools": [TOOL], "system": [billing]}
        up.script.models["alpha"] = Behaviour(
            steps=(Say(text=f"CONCERN\nPlace {at} is empty, and nobody looks at {at}."),)
        )
        answer = server.post("messages", asked)
        assert answer.status_code == 200, answer.text
        content = answer.json()["content"]
        calls = [block["id"] for block in content if block["type"] == "tool_use"]
        results = [{"type": "tool_result", "tool_use_id": call, "content": f"found {at}"} for call in calls]
        messages += [{"role": "assistant", "content": content}, {"role": "user", "content": results}]
    assert up.refusals == []


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("shape", ["cut", "no_finish", "error_chunk", "junk"])
def test_a_stream_that_ends_without_its_end_after_a_200(
    server: Serving, up: SigningEndpoint, wire: str, shape: str
) -> None:
    for source in WIRES:
        says(up, Say(text="These words arrive.", shape=shape))
        answer = server.post(wire, body(wire, f"{source}:m", stream=True))
        last = events(answer)[-1]
        said = last.get("error") or (last.get("response") or {}).get("error") or last.get("type") == "error"
        assert said and ENDS[wire] not in answer.text, (source, answer.text[-600:])


@pytest.mark.parametrize("wire", WIRES)
def test_half_a_tool_call_closed_as_a_success(server: Serving, up: SigningEndpoint, wire: str) -> None:
    for source in WIRES:
        says(up, Say(tools=(("read", {"path": "a long path " * 20}),), shape="cut"))
        answer = server.post(wire, body(wire, f"{source}:m", stream=True))
        assert ENDS[wire] not in answer.text
        assert '"arguments": "{}"' not in answer.text and '"partial_json":"{}"' not in answer.text
        assert '"stop_reason":"tool_use"' not in answer.text and '"finish_reason":"tool_calls"' not in answer.text


def test_content_blocks_out_of_order(server: Serving, up: SigningEndpoint) -> None:
    for source in WIRES:
        says(up, Say(reasoning="Hm.", text="Words.", tools=CALLS))
        found = events(server.post("messages", body("messages", f"{source}:m", stream=True, tools=[TOOL])))
        kinds = [event["type"] for event in found]
        assert kinds.count("message_start") == 1 and kinds[0] == "message_start"
        open_at: int | None = None
        for event in found:
            if event["type"] == "content_block_start":
                assert open_at is None
                open_at = event["index"]
            elif event["type"] == "content_block_delta":
                assert event["index"] == open_at
            elif event["type"] == "content_block_stop":
                assert event["index"] == open_at
                open_at = None
        text = "".join(event["delta"].get("text", "") for event in found if event["type"] == "content_block_delta")
        assert text == "Words."  # the first piece, too


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("stream", [True, False])
def test_usage_missing_or_zero(server: Serving, up: SigningEndpoint, wire: str, stream: bool) -> None:
    for source in WIRES:
        says(up, Say(text="Words."))
        answer = server.post(
            wire,
            body(
                wire,
                f"{source}:m",
                stream=stream,
                **({"stream_options": {"include_usage": True}} if stream and wire == "chat" else {}),
            ),
        )
        whole = [*events(answer)] if stream else [answer.json()]
        usages = [found for each in whole for found in _usages(each)]
        assert any(sum(value for value in usage.values() if isinstance(value, int)) > 0 for usage in usages), (
            answer.text
        )
        with closing(server.ledger()) as books:
            row = books.calls()[-1]
        assert row.prompt_tokens and row.completion_tokens and row.cost_nano


def _usages(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if isinstance(value.get("usage"), dict):
            yield value["usage"]
        for inner in value.values():
            yield from _usages(inner)


def test_count_tokens_missing(server: Serving) -> None:
    for source in WIRES:
        asked = {"model": f"{source}:m", "messages": [{"role": "user", "content": "word " * 100}]}
        answer = server.post("/v1/messages/count_tokens", asked, query="?beta=true")
        assert answer.status_code == 200 and answer.json()["input_tokens"] > 50, (source, answer.text)


def test_unknown_betas_and_fields_stripped(server: Serving, up: SigningEndpoint) -> None:
    more = {"some_field_of_2027": {"b": 1, "a": [None]}, "context_management": {"edits": []}}
    asked = body("messages", "messages:m", **more)
    server.post("messages", asked, {"anthropic-beta": "new-thing-2027-01-01"}, query="?beta=true")
    came = up.exchanges[-1]
    assert came.body == {**asked, "model": "m"} and came.headers["anthropic-beta"] == "new-thing-2027-01-01"


def test_model_ids_and_dated_suffixes(server: Serving, up: SigningEndpoint) -> None:
    up.script = Script(models={"claude-haiku-9": Behaviour(steps=(Say(text="A title"),))}, **KEYS)
    server.server.names.main = "messages:m"
    for name in ("claude-haiku-9", "claude-haiku-9-20270101"):
        assert server.post("messages", body("messages", name)).status_code == 200
        assert up.exchanges[-1].model == "claude-haiku-9"
    assert server.post("messages", body("messages", "claude-nix-1")).status_code == 404


@pytest.mark.parametrize("wire", WIRES)
def test_parallel_tool_calls_mangled(server: Serving, up: SigningEndpoint, wire: str) -> None:
    tools = {
        "messages": [TOOL],
        "chat": [{"type": "function", "function": {"name": "read", "parameters": {"type": "object"}}}],
        "responses": [{"type": "function", "name": "read", "parameters": {"type": "object"}}],
    }[wire]
    for source in WIRES:
        says(up, Say(text="Both.", tools=CALLS))
        found = json.dumps(server.post(wire, body(wire, f"{source}:m", tools=tools)).json())
        assert found.count('"read"') >= 2 and found.index("Both.") and found.index('"a') < found.rindex('"b')


def test_empty_tools_refused_upstream(server: Serving, up: SigningEndpoint) -> None:
    for wire in WIRES:
        says(up, Say(text="Words."))
        assert server.post(wire, body(wire, "chat:m", tools=[])).status_code == 200
        assert "tools" not in up.exchanges[-1].body
        assert prompt.items_of(up.exchanges[-1].body)


def test_vendors_server_tools(server: Serving, up: SigningEndpoint) -> None:
    """Tool search goes through as it came; an advisor is executed here (tests/moa/serve/fusion), and never reaches the endpoint as such."""
    search = {"type": "tool_search_tool_regex_20251119", "name": "tool_search_tool_regex"}
    late = {"name": "late", "input_schema": {"type": "object"}, "defer_loading": True}
    assert server.post("messages", body("messages", "messages:m", tools=[search, late])).status_code == 200
    assert up.exchanges[-1].body["tools"] == [search, late]
    advisor = {"type": "advisor_20260301", "name": "advisor", "model": "claude-opus-5-5"}
    answer = server.post("messages", body("messages", "moa/p/messages:m", tools=[advisor]))
    sent = json.dumps([exchange.body.get("tools") for exchange in up.exchanges])
    assert answer.status_code == 200 and "advisor_20260301" not in sent
