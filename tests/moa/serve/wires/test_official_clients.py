"""The official libraries read every answer that the wires write: streamed and whole, calls, images, structured output, errors."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from typing import Any

import pytest

from agent.llm import errors
from moa.serve.wires.registry import wire_named
from moa.serve.wires.wire import Unsayable
from tests.moa.serve.wires.test_features import IMAGE, SCHEMA, TEXT, body, tool
from tests.support.crossing import PAIRS, WIRES, Crossing
from tests.support.script import Say

pytestmark = pytest.mark.slow  # importing the two takes longer than all the rest

WIRE_OF = {"/v1/messages": "messages", "/v1/responses": "responses", "/v1/chat/completions": "chat"}
CALLS = (("call_1", "read", '{"path": "a"}'), ("call_2", "read", '{"path": "b"}'))


class Server:
    """Answers the official clients as the frame does, from a scripted upstream, without a socket."""

    def __init__(
        self, dialect: str = "chat", say: Say | None = None, calls: Any = (), error: Exception | None = None
    ) -> None:
        self.dialect, self.say, self.calls, self.error = dialect, say or Say(text="Hello there."), calls, error
        self.asked: list[dict[str, Any]] = []
        self.library: Any = None
        self.crossing: Crossing | None = None

    def __call__(self, request: Any) -> Any:
        status, content, headers = self.answer(request)
        return self.library.Response(status, content=content, headers=headers)

    def answer(self, request: Any) -> tuple[int, bytes, dict[str, str]]:
        asked = json.loads(request.content)
        self.asked.append(asked)
        name = WIRE_OF[request.url.path]
        self.crossing = crossing = self.crossing or Crossing(name, self.dialect)
        try:
            if self.error is not None:
                raise self.error
            data = crossing.bytes(self.say, calls=self.calls)
            if asked.get("stream"):
                stream = crossing.answer(asked, data)
                return 200, stream, {"content-type": "text/event-stream"}
            status, whole = crossing.whole(asked, data)
            return status, json.dumps(whole).encode(), {"content-type": "application/json"}
        except (errors.ModelError, Unsayable) as failure:
            status, said, headers = wire_named(name).error(failure)
            return status, json.dumps(said).encode(), {"content-type": "application/json", **headers}

    def http(self, library: str) -> Any:
        """A client of `library`: Anthropic's takes no other than httpx2's."""
        self.library = importlib.import_module(library)
        return self.library.Client(transport=self.library.MockTransport(self))


def openai(server: Server, **more: Any) -> Any:
    from openai import OpenAI

    return OpenAI(api_key="k", base_url="http://moa.test/v1", http_client=server.http("httpx"), **more)


def anthropic(server: Server, **more: Any) -> Any:
    from anthropic import Anthropic

    return Anthropic(api_key="k", base_url="http://moa.test", http_client=server.http("httpx2"), **more)


# For each wire: what the library makes of an answer, as (text, thoughts, calls, stop, tokens in and out).
def messages_read(found: Any) -> tuple[Any, ...]:
    text = "".join(block.text for block in found.content if block.type == "text")
    thought = "".join(block.thinking for block in found.content if block.type == "thinking")
    calls = [(block.id, block.name, block.input) for block in found.content if block.type == "tool_use"]
    stop = {"end_turn": "stop", "tool_use": "stop", "max_tokens": "length", "refusal": "refusal"}[found.stop_reason]
    usage = found.usage
    return text, thought, calls, stop, (usage.input_tokens + usage.cache_read_input_tokens, usage.output_tokens)


def chat_read(found: Any) -> tuple[Any, ...]:
    choice = found.choices[0]
    calls = [
        (call.id, call.function.name, json.loads(call.function.arguments)) for call in choice.message.tool_calls or []
    ]
    stop = {"tool_calls": "stop", "content_filter": "refusal"}.get(choice.finish_reason, choice.finish_reason)
    thought = getattr(choice.message, "reasoning_content", None) or ""
    return (
        choice.message.content or "",
        thought,
        calls,
        stop,
        (found.usage.prompt_tokens, found.usage.completion_tokens),
    )


def responses_read(found: Any) -> tuple[Any, ...]:
    thought = "".join(part.text for item in found.output if item.type == "reasoning" for part in item.summary)
    calls = [
        (item.call_id, item.name, json.loads(item.arguments)) for item in found.output if item.type == "function_call"
    ]
    reason = found.incomplete_details.reason if found.incomplete_details else None
    stop = {None: "stop", "max_output_tokens": "length", "content_filter": "refusal"}[reason]
    return found.output_text, thought, calls, stop, (found.usage.input_tokens, found.usage.output_tokens)


def ask(wire: str, server: Server, *, stream: bool, **fields: Any) -> tuple[Any, ...]:
    asked = body(wire, tools=[tool(wire)], **fields)
    if wire == "messages":
        if not stream:
            return messages_read(anthropic(server).messages.create(**asked))
        with anthropic(server).messages.stream(**asked) as live:
            return messages_read(live.get_final_message())
    if wire == "responses":
        if not stream:
            return responses_read(openai(server).responses.create(**asked))
        with openai(server).responses.stream(**asked) as live:
            kinds = [event.type for event in live]
            assert kinds[0] == "response.created"
            assert kinds[-1] in ("response.completed", "response.incomplete")
            return responses_read(live.get_final_response()) if kinds[-1] == "response.completed" else ()
    if not stream:
        return chat_read(openai(server).chat.completions.create(**asked))
    with openai(server).chat.completions.stream(**asked, stream_options={"include_usage": True}) as live:
        list(live)
        return chat_read(live.get_final_completion())


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(("wire", "dialect"), PAIRS)
def test_words_thoughts_and_parallel_calls(wire: str, dialect: str, stream: bool) -> None:
    reasoning = "" if dialect == "responses" else "Hm, so."
    server = Server(dialect, Say(text="Hello there.", reasoning=reasoning), CALLS)
    text, thought, calls, stop, tokens = ask(wire, server, stream=stream)
    assert (text, stop) == ("Hello there.", "stop")
    assert calls == [("call_1", "read", {"path": "a"}), ("call_2", "read", {"path": "b"})]
    assert thought == reasoning
    assert tokens[0] == 120 and tokens[1] > 0


@pytest.mark.parametrize("finish", ["length", "content_filter"])
@pytest.mark.parametrize("wire", WIRES)
def test_why_it_stopped(wire: str, finish: str) -> None:
    server = Server("chat" if wire != "chat" else "anthropic", Say(text="Hel", finish=finish))
    assert ask(wire, server, stream=False)[3] == {"content_filter": "refusal"}.get(finish, finish)


@pytest.mark.parametrize("wire", WIRES)
def test_a_tool_loop_and_an_image(wire: str) -> None:
    server = Server("chat" if wire != "chat" else "anthropic", Say(text="So."), CALLS[:1])
    image = {"role": "user", "content": [TEXT[wire], IMAGE[wire]]}
    if wire == "messages":
        client = anthropic(server)
        asked: dict[str, Any] = {**body(wire, tools=[tool(wire)]), "messages": [image]}
        first = client.messages.create(**asked)
        result = {"type": "tool_result", "tool_use_id": "call_1", "content": "one"}
        asked["messages"] += [{"role": "assistant", "content": first.content}, {"role": "user", "content": [result]}]
        client.messages.create(**asked)
    elif wire == "responses":
        client = openai(server)
        asked = {**body(wire, tools=[tool(wire)]), "input": [image]}
        first = client.responses.create(**asked)
        asked["input"] += [*first.output, {"type": "function_call_output", "call_id": "call_1", "output": "one"}]
        client.responses.create(**asked)
    else:
        client = openai(server)
        asked = {**body(wire, tools=[tool(wire)]), "messages": [image]}
        first = client.chat.completions.create(**asked)
        asked["messages"] += [first.choices[0].message, {"role": "tool", "tool_call_id": "call_1", "content": "one"}]
        client.chat.completions.create(**asked)
    assert server.crossing is not None
    sent = json.dumps(server.crossing.sent[-1])
    assert "call_1" in sent and "one" in sent and "iVBORw0KGgo=" in sent


def test_structured_output_by_the_libraries_own_helpers() -> None:
    from pydantic import BaseModel

    class Answer(BaseModel):
        a: str

    says = Say(text='{"a": "x"}')
    server = Server("anthropic", says)
    parsed = openai(server).chat.completions.parse(**body("chat"), response_format=Answer)
    assert parsed.choices[0].message.parsed == Answer(a="x")
    assert server.crossing is not None
    assert server.crossing.sent[-1]["output_config"]["format"]["schema"]["required"] == ["a"]
    found = openai(Server("anthropic", says)).responses.parse(**body("responses"), text_format=Answer)
    assert found.output_parsed == Answer(a="x")
    server = Server("chat", says)
    config = {"format": {"type": "json_schema", "schema": SCHEMA}}
    assert anthropic(server).messages.create(**body("messages"), output_config=config).content[0].text == '{"a": "x"}'


FAULTS: list[tuple[Exception, str, bool]] = [
    (errors.BadRequest("no", status=400), "BadRequestError", False),
    (Unsayable("n", "no"), "BadRequestError", False),
    (errors.AuthError("no", status=401), "AuthenticationError", False),
    (errors.AuthError("no", status=403), "PermissionDeniedError", False),
    (errors.ModelNotFound("no", status=404), "NotFoundError", False),
    (errors.RateLimited("slow", status=429, retry_after=0), "RateLimitError", True),
    (errors.Overloaded("busy", status=529, retry_after=0), "InternalServerError|OverloadedError", True),
    (errors.ConnectionFailed("gone", retry_after=0), "InternalServerError", True),
    (errors.AnswerTooLong("long"), "InternalServerError", False),
]


@pytest.mark.parametrize(("error", "name", "again"), FAULTS, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("wire", WIRES)
def test_errors_are_typed_and_retried_as_they_can_be(wire: str, error: Exception, name: str, again: bool) -> None:
    server = Server(error=error)
    make: Callable[..., Any] = anthropic if wire == "messages" else openai
    client = make(server, max_retries=1)
    call = {
        "messages": lambda: client.messages,
        "responses": lambda: client.responses,
        "chat": lambda: client.chat.completions,
    }
    with pytest.raises(Exception) as failure:
        call[wire]().create(**body(wire))
    assert type(failure.value).__name__ in name.split("|")
    assert len(server.asked) == (2 if again else 1)


@pytest.mark.parametrize("wire", WIRES)
def test_a_stream_that_breaks_is_an_error_of_the_library(wire: str) -> None:
    import anthropic as anthropic_library
    import openai as openai_library

    server = Server("anthropic" if wire != "messages" else "chat", Say(text="Hello", shape="error_chunk"))
    if wire == "messages":
        with pytest.raises(anthropic_library.APIStatusError), anthropic(server).messages.stream(**body(wire)) as live:
            live.get_final_message()
    elif wire == "chat":
        with pytest.raises(openai_library.APIError):
            list(openai(server).chat.completions.create(**body(wire), stream=True))
    else:
        last = list(openai(server).responses.create(**body(wire), stream=True))[-1]
        assert last.type == "response.failed" and last.response.error.message
