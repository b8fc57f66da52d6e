"""The official Python clients (`openai`, `anthropic`) in front of `moa serve`, each over every upstream wire."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.support.endpoint import ScriptedEndpoint
from tests.support.script import Behaviour, Say, Script
from tests.support.serving import PRESET, UPSTREAM_KEY, WIRES, Serving

pytestmark = [pytest.mark.slow, pytest.mark.alone]
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
SCHEMA = {
    "type": "object",
    "properties": {"word": {"type": "string"}},
    "required": ["word"],
    "additionalProperties": False,
}
KEYS = {"api_key": UPSTREAM_KEY}
CALLS = (("look", {"at": "a"}), ("look", {"at": "b"}))


def work(body: Mapping[str, Any], _earlier: int) -> Say:
    """Two calls at once, then an answer; JSON where that is asked for."""
    text = json.dumps(body)
    if '"json_schema"' in text or '"word"' in text:
        return Say(analysis={"word": "marmalade"})
    if body.get("tools") and "found a" not in text:
        return Say(text="Let me look.", tools=CALLS)
    return Say(text="It is marmalade.")


@pytest.fixture(scope="module")
def up() -> Iterator[ScriptedEndpoint]:
    with ScriptedEndpoint() as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def server(up: ScriptedEndpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    presets = {"p": PRESET.format(main="chat:m", aggregate="raw")}
    with Serving(tmp_path_factory.mktemp("clients"), up, presets=presets) as serving:
        yield serving


@pytest.fixture(autouse=True)
def scripted(up: ScriptedEndpoint) -> None:
    up.script = Script(models={"m": work}, **KEYS)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", [f"{form}{wire}:m" for form in ("", "moa/p/") for wire in WIRES])
class TestOpenAI:
    @pytest.fixture
    def client(self, server: Serving) -> Any:
        openai = pytest.importorskip("openai")
        return openai.OpenAI(base_url=f"{server.url}/v1", api_key=server.key, max_retries=0)

    def test_a_tool_loop_of_parallel_calls(self, client: Any, name: str) -> None:
        tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
        messages: list[Any] = [{"role": "user", "content": "Look."}]
        for _round in range(3):
            message = client.chat.completions.create(model=name, messages=messages, tools=[tool]).choices[0].message
            messages.append(message.model_dump(exclude_none=True))
            if not message.tool_calls:
                break
            assert [json.loads(call.function.arguments) for call in message.tool_calls] == [{"at": "a"}, {"at": "b"}]
            messages += [
                {
                    "role": "tool",
                    "tool_call_id": call.id,
                    "content": f"found {json.loads(call.function.arguments)['at']}",
                }
                for call in message.tool_calls
            ]
        assert message.content == "It is marmalade."

    def test_a_stream_with_calls_and_usage(self, client: Any, name: str) -> None:
        tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
        with client.chat.completions.stream(
            model=name,
            messages=[{"role": "user", "content": "Look."}],
            tools=[tool],
            stream_options={"include_usage": True},
        ) as stream:
            for _event in stream:
                pass
            final = stream.get_final_completion()
        assert [call.function.arguments for call in final.choices[0].message.tool_calls] == [
            '{"at": "a"}',
            '{"at": "b"}',
        ]
        assert final.usage.prompt_tokens > 0

    def test_responses_streamed_and_not(self, client: Any, name: str) -> None:
        whole = client.responses.create(model=name, input="Look.", store=False)
        assert whole.output_text == "It is marmalade." and whole.usage.input_tokens > 0
        with client.responses.stream(model=name, input="Look again.", store=False) as stream:
            for _event in stream:
                pass
            assert stream.get_final_response().output_text == "It is marmalade."

    def test_an_image_and_a_schema(self, client: Any, name: str, up: ScriptedEndpoint) -> None:
        image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}
        content = [{"type": "text", "text": "What is it?"}, image]
        form = {"type": "json_schema", "json_schema": {"name": "w", "schema": SCHEMA, "strict": True}}
        asked = {"model": name, "messages": [{"role": "user", "content": content}], "response_format": form}
        found = client.chat.completions.create(**asked).choices[0].message.content
        assert json.loads(found) == {"word": "marmalade"}
        assert PIXEL in json.dumps(up.calls("m")[-1].body)


@pytest.mark.parametrize("name", [f"{form}{wire}:m" for form in ("", "moa/p/") for wire in WIRES])
class TestAnthropic:
    @pytest.fixture
    def client(self, server: Serving) -> Any:
        anthropic = pytest.importorskip("anthropic")
        return anthropic.Anthropic(base_url=server.url, api_key=server.key, max_retries=0)

    def test_a_tool_loop_of_parallel_calls(self, client: Any, name: str) -> None:
        tool = {"name": "look", "input_schema": {"type": "object"}}
        messages: list[Any] = [{"role": "user", "content": "Look."}]
        for streamed in (True, False):
            asked = {"model": name, "max_tokens": 900, "messages": messages, "tools": [tool]}
            if streamed:
                with client.messages.stream(**asked) as stream:
                    message = stream.get_final_message()
            else:
                message = client.messages.create(**asked)
            messages.append(
                {"role": "assistant", "content": [block.model_dump(exclude_none=True) for block in message.content]}
            )
            calls = [block for block in message.content if block.type == "tool_use"]
            if not calls:
                break
            assert [call.input for call in calls] == [{"at": "a"}, {"at": "b"}] and message.stop_reason == "tool_use"
            results = [
                {"type": "tool_result", "tool_use_id": call.id, "content": f"found {call.input['at']}"}
                for call in calls
            ]
            messages.append({"role": "user", "content": results})
        assert message.content[-1].text == "It is marmalade."
        assert message.usage.output_tokens > 0

    def test_an_image_and_a_count(self, client: Any, name: str, up: ScriptedEndpoint) -> None:
        source = {"type": "base64", "media_type": "image/png", "data": PIXEL}
        messages = [
            {"role": "user", "content": [{"type": "text", "text": "What is it?"}, {"type": "image", "source": source}]}
        ]
        message = client.messages.create(model=name, max_tokens=900, messages=messages)
        assert message.content[0].text and PIXEL in json.dumps(up.calls("m")[-1].body)
        assert client.messages.count_tokens(model=name, messages=messages).input_tokens > 0


# What each client raises, and whether it would have asked again by itself.
ERRORS = [
    (400, "BadRequestError", 1),
    (401, "AuthenticationError", 1),
    (403, "PermissionDeniedError", 1),
    (404, "NotFoundError", 1),
    (429, "RateLimitError", 2),
    (500, "InternalServerError", 2),
    (529, "", 2),
]


@pytest.mark.parametrize("upstream", WIRES)
@pytest.mark.parametrize(("status", "name", "asked"), ERRORS)
def test_errors_are_typed_so_that_clients_retry_what_can_be_retried(
    server: Serving, up: ScriptedEndpoint, upstream: str, status: int, name: str, asked: int
) -> None:
    openai, anthropic = pytest.importorskip("openai"), pytest.importorskip("anthropic")
    up.script = Script(models={"m": Behaviour(steps=(Say(status=status, retry_after=0.01),))}, **KEYS)
    words = [{"role": "user", "content": "Look."}]
    for module, ask in (
        (openai, openai.OpenAI(base_url=f"{server.url}/v1", api_key=server.key, max_retries=1).chat.completions.create),
        (anthropic, anthropic.Anthropic(base_url=server.url, api_key=server.key, max_retries=1).messages.create),
    ):
        kind = getattr(module, name) if name and hasattr(module, name) else module.APIStatusError
        own = (module is openai) == (upstream == "chat") and upstream != "responses"
        before = len(up.calls("m"))
        with pytest.raises(kind) as caught:
            ask(model=f"{upstream}:m", max_tokens=900, messages=words)
        assert caught.value.status_code == status
        if own:  # over another wire our own client of models has asked again already
            assert len(up.calls("m")) - before == asked
