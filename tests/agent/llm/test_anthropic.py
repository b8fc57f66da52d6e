"""The native Messages API: blocks, breakpoints, signatures and its stream of typed events."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.llm import errors
from agent.llm.dialects.anthropic import AnthropicDialect
from agent.llm.dialects.anthropic_decoder import AnthropicDecoder
from agent.llm.messages import (
    ImagePart,
    Message,
    ReasoningPart,
    TextPart,
    ToolCallPart,
    assistant,
    system,
    tool_result,
    user,
)
from agent.llm.models.endpoint import WELL_KNOWN
from agent.llm.models.quirks import known
from agent.llm.net.sse import events_of
from agent.llm.request import ModelRef, Request, Schema, ToolSpec
from agent.llm.stream import Alive, Reply, StreamEvent, Usage
from tests.support.bound import answered

ENDPOINT = WELL_KNOWN["anthropic"]
NEW, OLD = "claude-opus-4-8", "claude-sonnet-4-5"
TOOL = ToolSpec("read", "Read a file.", {"type": "object", "properties": {"path": {"type": "string"}}})
SUMMARIZED = {"type": "adaptive", "display": "summarized"}
CALLS = tuple(ToolCallPart(id=f"c{n}", name="read", arguments=f'{{"path": "{n}"}}') for n in range(2))


def request(model: str = NEW, *messages: Message, **options: Any) -> Request:
    return Request(ModelRef("anthropic", model), messages or (system("Be brief."), user("Hi")), **options)


def encode(request: Request, *learned: str) -> dict[str, Any]:
    return AnthropicDialect().encode(request, ENDPOINT, known(ENDPOINT, request.model.model) | set(learned))


def stream(*payloads: dict[str, Any]) -> bytes:
    return "".join(f"event: {p['type']}\ndata: {json.dumps(p, ensure_ascii=False)}\n\n" for p in payloads).encode()


def read(body: bytes) -> tuple[list[StreamEvent], Reply]:
    decoding = AnthropicDialect().decoder(request(), ENDPOINT)
    events = [event for sent in events_of(body) for event in decoding.feed(sent.name, sent.data)]
    return events, decoding.finish()


def test_tool_results_are_one_message_and_the_tail_is_its_last_block() -> None:
    history = (system("S"), user("go"), assistant("", *CALLS), *(tool_result(call, "found") for call in CALLS))
    body = encode(request(NEW, *history, tools=(TOOL,), tail="advice"))
    assert [message["role"] for message in body["messages"]] == ["user", "assistant", "user"]
    last = body["messages"][-1]["content"]
    assert [block["type"] for block in last] == ["tool_result", "tool_result", "text"]
    assert last[-1] == {"type": "text", "text": "advice"}
    assert last[1]["cache_control"] == {"type": "ephemeral"}
    assert body["messages"][0]["content"][0]["cache_control"] == {"type": "ephemeral"}
    assert body["system"][0]["cache_control"] == {"type": "ephemeral"}
    assert json.dumps(body).count("cache_control") == 3


def test_thinking_returns_unmodified_to_the_model_that_signed_it() -> None:
    thought = Message(
        role="assistant",
        parts=(
            ReasoningPart(text="hm", extra={"type": "thinking", "signature": "sig"}),
            ReasoningPart(text="", extra={"type": "redacted_thinking", "data": "xx"}),
            ReasoningPart(text="cut off before it was signed"),
            CALLS[0],
        ),
        origin=f"anthropic:{NEW}",
    )
    history = (user("go"), thought, tool_result(CALLS[0], "ok"))
    bound = answered(AnthropicDialect(), request(NEW, *history, tools=(TOOL,)), ENDPOINT, known(ENDPOINT, NEW))
    sent = encode(bound)["messages"][1]["content"]
    assert sent[:2] == [
        {"type": "thinking", "signature": "sig", "thinking": "hm"},
        {"type": "redacted_thinking", "data": "xx"},
    ]
    assert [block["type"] for block in sent[2:]] == ["tool_use"]
    foreign = encode(request(OLD, *history, tools=(TOOL,)))["messages"][1]["content"]
    assert [block["type"] for block in foreign] == ["tool_use"]


@pytest.mark.parametrize(
    ("model", "options", "learned", "expected"),
    [
        (NEW, {"reasoning": "high"}, (), {"thinking": SUMMARIZED, "output_config": {"effort": "high"}}),
        (NEW, {"reasoning": "xhigh"}, ("coarse_effort",), {"output_config": {"effort": "high"}}),
        (NEW, {"reasoning": "none"}, (), {"thinking": None}),
        (NEW, {"temperature": 0.5}, (), {"temperature": None}),
        (OLD, {"temperature": 0.5}, (), {"temperature": 0.5}),
        (OLD, {"reasoning": "medium"}, (), {"thinking": {"type": "enabled", "budget_tokens": 8000}}),
        (OLD, {"reasoning": "medium", "temperature": 0.5}, (), {"temperature": None}),
        (OLD, {"reasoning": "high", "max_tokens": 600}, (), {"thinking": None}),
        (OLD, {"reasoning": "high"}, ("adaptive_thinking",), {"thinking": SUMMARIZED}),
        (
            NEW,
            {"tools": (TOOL,), "tool_choice": "required", "reasoning": "high"},
            (),
            {"tool_choice": {"type": "any"}, "thinking": None},
        ),
        (NEW, {"tools": (TOOL,), "tool_choice": "none"}, (), {"tool_choice": {"type": "none"}}),
    ],
)
def test_options_follow_the_model(
    model: str, options: dict[str, Any], learned: tuple[str, ...], expected: dict[str, Any]
) -> None:
    body = encode(request(model, **options), *learned)
    assert {key: body.get(key) for key in expected} == expected


def test_a_tool_loop_that_began_without_thinking_goes_on_without() -> None:
    history = (user("go"), assistant("", CALLS[0], origin="other:model"), tool_result(CALLS[0], "ok"))
    assert "thinking" not in encode(request(OLD, *history, tools=(TOOL,), reasoning="high"))


def test_structured_output_is_native_and_leaves_out_what_the_api_refuses() -> None:
    schema = {
        "type": "object",
        "properties": {"maxItems": {"type": "array", "maxItems": 3, "items": {"type": "string", "maxLength": 9}}},
        "required": ["maxItems"],
    }
    body = encode(request(schema=Schema("a", schema), reasoning="low"))
    assert body["output_config"] == {
        "effort": "low",
        "format": {
            "type": "json_schema",
            "schema": {
                "type": "object",
                "properties": {"maxItems": {"type": "array", "items": {"type": "string"}}},
                "required": ["maxItems"],
                "additionalProperties": False,
            },
        },
    }
    prompted = encode(request(schema=Schema("a", schema)), "no_json_schema", "no_json_object")
    assert "output_config" not in prompted
    assert "JSON" in prompted["messages"][-1]["content"][-1]["text"]


def test_without_tools_their_traffic_is_text() -> None:
    history = (user("go"), assistant("", CALLS[0]), tool_result(CALLS[0], "found"))
    body = json.dumps(encode(request(NEW, *history))["messages"])
    assert "tool_use" not in body
    assert "found" in body


def test_images_and_an_answer_at_the_end() -> None:
    picture = Message(role="user", parts=(TextPart(text="see"), ImagePart(media_type="image/png", data="aGk=")))
    messages = encode(request(NEW, picture, assistant("I see")))["messages"]
    assert messages[0]["content"][1]["source"] == {"type": "base64", "media_type": "image/png", "data": "aGk="}
    assert messages[-1]["role"] == "user"


def block(index: int, start: dict[str, Any], *deltas: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"type": "content_block_start", "index": index, "content_block": start},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


START: dict[str, Any] = {
    "type": "message_start",
    "message": {
        "id": "msg_1",
        "model": NEW,
        "usage": {
            "input_tokens": 10,
            "cache_read_input_tokens": 70,
            "cache_creation_input_tokens": 20,
            "output_tokens": 1,
        },
    },
}


def end(reason: str) -> list[dict[str, Any]]:
    return [
        {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": 30}},
        {"type": "message_stop"},
    ]


def test_a_streamed_answer_with_everything_in_it() -> None:
    events, reply = read(
        stream(
            START,
            {"type": "ping"},
            *block(
                0,
                {"type": "thinking", "thinking": "", "signature": ""},
                {"type": "thinking_delta", "thinking": "hm\u2028"},
                {"type": "signature_delta", "signature": "sig"},
            ),
            *block(1, {"type": "redacted_thinking", "data": "xx"}),
            *block(
                2,
                {"type": "text", "text": ""},
                {"type": "text_delta", "text": "I "},
                {"type": "text_delta", "text": "read."},
            ),
            *block(
                3,
                {"type": "tool_use", "id": "toolu_1", "name": "read", "input": {}},
                {"type": "input_json_delta", "partial_json": ""},
                {"type": "input_json_delta", "partial_json": '{"path": "a"}'},
            ),
            {"type": "something_new", "index": 9},
            *end("tool_use"),
        )
    )
    assert reply.message.parts == (
        ReasoningPart(text="hm\u2028", extra={"type": "thinking", "signature": "sig"}),
        ReasoningPart(text="", extra={"type": "redacted_thinking", "data": "xx"}),
        TextPart(text="I read."),
        ToolCallPart(id="toolu_1", name="read", arguments='{"path": "a"}'),
    )
    assert reply.usage == Usage(prompt=100, cached=70, cache_write=20, completion=30)
    assert (reply.finish, reply.generation_id, reply.model_served) == ("tool_calls", "msg_1", NEW)
    assert len([event for event in events if not isinstance(event, Alive)]) == 5


def test_how_it_ends() -> None:
    words = block(0, {"type": "text", "text": "half"})
    _, cut = read(stream(START, *words, *end("max_tokens")))
    assert (cut.finish, cut.message.incomplete) == ("length", True)
    with pytest.raises(errors.EmptyAnswer):
        read(stream(START, *end("end_turn")))
    with pytest.raises(errors.StreamBroken) as broken:
        read(stream(START, *words))
    assert broken.value.partial is not None
    assert broken.value.partial.text == "half"
    failure = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    with pytest.raises(errors.StreamBroken):
        read(stream(START, *words, failure))
    with pytest.raises(errors.Overloaded) as busy:
        read(stream(START, failure))
    assert busy.value.usage is None  # what it had generated by then, nobody says


def test_thoughts_that_the_provider_left_out_are_told() -> None:
    gone = {"type": "thinking_dropped", "path": "messages.1.content.0", "reason": "model_binding_mismatch"}
    start = {
        **START,
        "message": {**START["message"], "input_transformations": [gone, {"type": "thinking_mismatch_allowed"}]},
    }
    _, reply = read(stream(start, *block(0, {"type": "text", "text": "x"}), *end("end_turn")))
    assert reply.left == ("the provider dropped them: model binding mismatch",)


def test_a_whole_body() -> None:
    decoding = AnthropicDialect().decoder(request(), ENDPOINT)
    use = {"type": "tool_use", "id": "t", "name": "read", "input": {"path": "a"}}
    message = {
        **START["message"],
        "type": "message",
        "content": [{"type": "text", "text": "x"}, use],
        "stop_reason": "tool_use",
    }
    assert len(decoding.feed_body(json.dumps(message).encode())) == 2
    assert decoding.finish().message.tool_calls[0].arguments == '{"path": "a"}'


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["type", "index", "delta", "content_block", "usage", "error", "message"]),
            st.recursive(
                st.none()
                | st.integers()
                | st.sampled_from(
                    ["text", "tool_use", "message_delta", "content_block_start", "thinking", "text_delta"]
                ),
                lambda inner: st.dictionaries(
                    st.sampled_from(["type", "text", "id", "name", "stop_reason", "input_tokens"]), inner, max_size=3
                ),
                max_leaves=6,
            ),
            max_size=4,
        ),
        max_size=5,
    )
)
def test_junk_is_an_error_of_ours_or_nothing(payloads: list[dict[str, Any]]) -> None:
    decoding = AnthropicDecoder(request(), ENDPOINT)
    try:
        for payload in payloads:
            decoding.feed("message", json.dumps(payload))
        decoding.finish()
    except errors.ModelError as error:
        assert error.message


def test_the_key_has_its_own_header() -> None:
    headers = AnthropicDialect().headers(ENDPOINT.with_(api_key="secret"))
    assert headers["x-api-key"] == "secret"
    assert "Authorization" not in headers
