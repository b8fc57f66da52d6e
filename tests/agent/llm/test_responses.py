"""OpenAI's Responses API: items, sealed reasoning, breakpoints, and its stream with every way in which it ends."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.llm import errors
from agent.llm.accounting import CallContext
from agent.llm.dialects.chat import ChatDialect
from agent.llm.dialects.responses import ResponsesDialect
from agent.llm.dialects.responses_decoder import ResponsesDecoder
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
from agent.llm.stream import ReasoningDelta, Reply, StreamEvent, TextDelta, ToolCallDelta, Usage
from tests.agent.llm.doors import door
from tests.support.script import Behaviour, Script, tool_loop
from tests.support.signing import SigningEndpoint

ENDPOINT = WELL_KNOWN["openai"]
NEW, OLD = "gpt-5.6-sol", "gpt-5.4"
TOOL = ToolSpec("read", "Read a file.", {"type": "object", "properties": {"path": {"type": "string"}}})
CALLS = tuple(ToolCallPart(id=f"c{n}", name="read", arguments=f'{{ "path":"{n}" }}') for n in range(2))
PICTURE = ImagePart(media_type="image/png", data="aGk=")
MARK = {"prompt_cache_breakpoint": {"mode": "explicit"}}
SEALED = {
    "id": "rs_1",
    "type": "reasoning",
    "summary": [{"type": "summary_text", "text": "First."}, {"type": "summary_text", "text": "Second."}],
    "encrypted_content": "gAAAA",
}


def request(model: str = OLD, *messages: Message, **options: Any) -> Request:
    return Request(ModelRef("openai", model), messages or (system("Be brief."), user("Hi")), **options)


def encode(request: Request, *learned: str) -> dict[str, Any]:
    return ResponsesDialect().encode(request, ENDPOINT, known(ENDPOINT, request.model.model) | set(learned))


def stream(*payloads: dict[str, Any], named: bool = True) -> bytes:
    name = "event: {type}\n" if named else ""
    return "".join(f"{name.format(**p)}data: {json.dumps(p, ensure_ascii=False)}\n\n" for p in payloads).encode()


def read(body: bytes, asked: Request | None = None) -> tuple[list[StreamEvent], Reply]:
    dialect = ResponsesDialect()
    decoding = dialect.decoder(asked or request(), ENDPOINT)
    events = []
    for sent in events_of(body):
        events += decoding.feed(sent.name, sent.data)
        if dialect.is_last(sent.name, sent.data):
            break
    return events, decoding.finish()


def test_a_conversation_is_a_list_of_items_and_nothing_is_stored() -> None:
    picture = Message(role="user", parts=(TextPart(text="see"), PICTURE))
    shown = Message(role="tool", parts=(TextPart(text="pic"), PICTURE), tool_call_id="c1", tool_name="read")
    history = (system("S"), picture, assistant("I look.", *CALLS), tool_result(CALLS[0], ""), shown)
    body = encode(request(OLD, *history, tools=(TOOL,), tail="advice", max_tokens=9, cache_key="s1"))
    image = {"type": "input_image", "detail": "auto", "image_url": "data:image/png;base64,aGk="}
    assert body["input"] == [
        {"role": "system", "content": [{"type": "input_text", "text": "S"}]},
        {"role": "user", "content": [{"type": "input_text", "text": "see"}, image]},
        {"role": "assistant", "content": "I look."},
        {"type": "function_call", "call_id": "c0", "name": "read", "arguments": '{ "path":"0" }'},
        {"type": "function_call", "call_id": "c1", "name": "read", "arguments": '{ "path":"1" }'},
        {"type": "function_call_output", "call_id": "c0", "output": "(no output)"},
        {"type": "function_call_output", "call_id": "c1", "output": [{"type": "input_text", "text": "pic"}, image]},
        {"role": "user", "content": [{"type": "input_text", "text": "advice"}]},
    ]
    assert body["tools"] == [
        {
            "type": "function",
            "name": "read",
            "description": "Read a file.",
            "parameters": TOOL.parameters,
            "strict": False,
        }
    ]
    assert (body["store"], body["stream"], body["include"]) == (False, True, ["reasoning.encrypted_content"])
    assert (body["prompt_cache_key"], body["max_output_tokens"]) == ("s1", 16)
    assert "instructions" not in body and "max_tokens" not in body
    assert "[image: image/png]" in json.dumps(encode(request(OLD, *history), "no_images")["input"])


def test_breakpoints_are_on_the_prompt_and_not_on_answers_or_the_tail() -> None:
    history = (system("S"), user("go"), assistant("", *CALLS), *(tool_result(call, "found") for call in CALLS))
    body = encode(request(NEW, *history, tools=(TOOL,), tail="advice"))
    marked = [index for index, item in enumerate(body["input"]) if "prompt_cache_breakpoint" in json.dumps(item)]
    assert marked == [0, 1, 5]
    assert body["input"][5]["output"] == [{"type": "input_text", "text": "found", **MARK}]
    for plain in (encode(request(OLD, *history)), encode(request(NEW, *history), "no_cache_breakpoint")):
        assert "prompt_cache_breakpoint" not in json.dumps(plain)
    # The same on Chat Completions, where GPT-5.6 needs them as much.
    chat = ChatDialect().encode(request(NEW, *history, tail="advice", cache_key="s1"), ENDPOINT, known(ENDPOINT, NEW))
    marked = [index for index, message in enumerate(chat["messages"]) if "prompt_cache_breakpoint" in str(message)]
    assert (marked, chat["prompt_cache_key"]) == ([0, 1, 4], "s1")
    assert chat["messages"][4]["content"] == [{"type": "text", "text": "found", **MARK}]


@pytest.mark.parametrize(
    ("model", "options", "learned", "expected"),
    [
        (NEW, {"schema": Schema("a", {"type": "object"})}, (), {"type": "json_schema", "name": "a", "strict": True}),
        (
            NEW,
            {"schema": Schema("a", {})},
            ("no_strict_schema",),
            {"type": "json_schema", "name": "a", "strict": False},
        ),
        (NEW, {"schema": Schema("a", {}, mode="json_object")}, (), {"type": "json_object"}),
        (NEW, {"schema": Schema("a", {})}, ("no_json_schema", "no_json_object"), None),
    ],
)
def test_structured_output(
    model: str, options: dict[str, Any], learned: tuple[str, ...], expected: dict[str, Any] | None
) -> None:
    found = encode(request(model, **options), *learned).get("text", {}).get("format")
    assert found is expected or {**found, **(expected or {})} == found


@pytest.mark.parametrize(
    ("options", "learned", "expected"),
    [
        ({"tools": (TOOL,), "tool_choice": "required"}, (), {"tool_choice": "required"}),
        ({"tools": (TOOL,), "tool_choice": "none"}, (), {"tool_choice": "none"}),
        ({"tools": (TOOL,), "tool_choice": "required"}, ("no_forced_tool_choice",), {"tool_choice": None}),
        ({"tool_choice": "required"}, (), {"tool_choice": None}),
        ({"cache_key": "k"}, ("no_prompt_cache_key",), {"prompt_cache_key": None}),
        ({}, ("no_encrypted_reasoning",), {"include": None}),
        ({"reasoning": "low"}, ("no_reasoning_summary",), {"reasoning": {"effort": "low"}}),
        ({"temperature": 0.3}, (), {"temperature": None}),
    ],
)
def test_options_and_what_was_refused(
    options: dict[str, Any], learned: tuple[str, ...], expected: dict[str, Any]
) -> None:
    body = encode(request(NEW, **options), *learned)
    assert {key: body.get(key) for key in expected} == expected


# The stream


def added(index: int, item: dict[str, Any]) -> dict[str, Any]:
    return {"type": "response.output_item.added", "output_index": index, "item": item}


def done(index: int, item: dict[str, Any]) -> dict[str, Any]:
    return {"type": "response.output_item.done", "output_index": index, "item": item}


def delta(kind: str, index: int, text: str, **more: Any) -> dict[str, Any]:
    return {"type": f"response.{kind}.delta", "output_index": index, "item_id": f"i{index}", "delta": text, **more}


def message(text: str, **more: Any) -> dict[str, Any]:
    content = [{"type": "output_text", "text": text, "annotations": []}]
    return {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": content, **more}


def call(id: str, arguments: str) -> dict[str, Any]:
    return {"type": "function_call", "id": f"fc_{id}", "call_id": id, "name": "read", "arguments": arguments}


USAGE = {
    "input_tokens": 100,
    "input_tokens_details": {"cached_tokens": 70, "cache_write_tokens": 20},
    "output_tokens": 30,
    "output_tokens_details": {"reasoning_tokens": 12},
    "total_tokens": 130,
}
CREATED = {
    "type": "response.created",
    "response": {"id": "resp_1", "model": "gpt-5.4-2026-03-05", "status": "in_progress"},
}


def end(status: str = "completed", **more: Any) -> dict[str, Any]:
    response = {**CREATED["response"], "status": status, "usage": USAGE, "output": [], **more}
    return {"type": f"response.{status}", "response": response}


def test_a_streamed_answer_with_everything_in_it_goes_back_as_it_came() -> None:
    words = message("I read.", phase="commentary")
    events, reply = read(
        stream(
            CREATED,
            added(0, {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "half"}),
            delta("reasoning_summary_text", 0, "First.", summary_index=0),
            delta("reasoning_summary_text", 0, "Sec", summary_index=1),
            delta("reasoning_summary_text", 0, "ond.", summary_index=1),
            done(0, SEALED),
            added(1, {**words, "content": []}),
            delta("output_text", 1, "I "),
            delta("output_text", 1, "read."),
            {"type": "response.something_new", "output_index": 7},
            done(1, words),
            # Two calls at once, their pieces mixed.
            added(2, call("a", "")),
            added(3, call("b", "")),
            delta("function_call_arguments", 3, '{"path":'),
            delta("function_call_arguments", 2, '{"path": "a"}'),
            delta("function_call_arguments", 3, '"b"}'),
            done(2, call("a", '{"path": "a"}')),
            done(3, call("b", '{"path":"b"}')),
            end(output=[SEALED, words, call("a", '{"path": "a"}'), call("b", '{"path":"b"}')]),
            {"type": "response.output_text.delta", "output_index": 1, "delta": "after the end"},
        )
    )
    assert reply.message.parts == (
        ReasoningPart(text="First.\n\nSecond.", extra=SEALED),
        TextPart(text="I read."),
        ToolCallPart(id="a", name="read", arguments='{"path": "a"}', extra={"responses": {"id": "fc_a"}}),
        ToolCallPart(id="b", name="read", arguments='{"path":"b"}', extra={"responses": {"id": "fc_b"}}),
    )
    assert reply.usage == Usage(prompt=100, cached=70, cache_write=20, completion=30, reasoning=12)
    assert (reply.finish, reply.generation_id, reply.model_served) == ("tool_calls", "resp_1", "gpt-5.4-2026-03-05")
    assert "".join(e.text for e in events if isinstance(e, ReasoningDelta)) == "First.\n\nSecond."
    assert "".join(e.text for e in events if isinstance(e, TextDelta)) == "I read."
    assert [e.index for e in events if isinstance(e, ToolCallDelta)] == [0, 1, 1, 0, 1]
    results = [tool_result(one, "x") for one in reply.message.tool_calls]
    back = encode(request(OLD, user("go"), reply.message, *results, tools=(TOOL,)))["input"]
    assert back[1:5] == [SEALED, words, call("a", '{"path": "a"}'), call("b", '{"path":"b"}')]
    # Nothing of it is another model's business, nor another dialect's.
    foreign = json.dumps(encode(request(NEW, user("go"), reply.message, *results)))
    assert not any(word in foreign for word in ("rs_1", "msg_1", "fc_a", "commentary"))
    chat = ChatDialect().encode(request(OLD, user("go"), reply.message, *results), ENDPOINT, frozenset())
    assert not any(word in json.dumps(chat) for word in ("rs_1", "msg_1", "fc_a", "responses"))


def test_reasoning_that_says_nothing_when_it_comes_back_stays_here() -> None:
    bare = {**SEALED, "encrypted_content": None}
    spoken = {"type": "reasoning", "id": "rs_2", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]}
    _, reply = read(stream(CREATED, done(0, bare), done(1, spoken), done(2, message("x")), end()))
    sent = encode(request(OLD, user("go"), reply.message, user("on")))["input"]
    assert [item.get("type", "message") for item in sent] == ["message", "reasoning", "message", "message"]
    assert sent[1] == spoken


@pytest.mark.parametrize(
    "events",
    [
        # Only the last event has it; items without deltas; no index, ids alone; no event names.
        [CREATED, end(output=[SEALED, message("All."), call("a", '{"x": 1}')])],
        [CREATED, done(0, SEALED), done(1, message("All.")), done(2, call("a", '{"x": 1}')), end()],
        [
            CREATED,
            {"type": "response.output_item.done", "item": SEALED},
            {"type": "response.output_item.added", "item": message("")},
            {"type": "response.output_text.delta", "item_id": "msg_1", "delta": "Al"},
            {"type": "response.output_item.done", "item": message("All.")},
            {"type": "response.output_item.done", "item": call("a", '{"x": 1}')},
            end(output=[SEALED, message("All."), call("a", '{"x": 1}')]),
        ],
        # A summary whose item never ended: the last event has the seal.
        [
            CREATED,
            added(0, {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": None}),
            delta("reasoning_summary_text", 0, "First.", summary_index=0),
            end(output=[SEALED, message("All."), call("a", '{"x": 1}')]),
        ],
    ],
)
@pytest.mark.parametrize("named", [True, False])
def test_servers_that_leave_events_out(events: list[dict[str, Any]], named: bool) -> None:
    told, reply = read(stream(*events, named=named))
    assert reply.message.parts == (
        ReasoningPart(text="First.\n\nSecond.", extra=SEALED),
        TextPart(text="All."),
        ToolCallPart(id="a", name="read", arguments='{"x": 1}', extra={"responses": {"id": "fc_a"}}),
    )
    assert "".join(e.text for e in told if isinstance(e, TextDelta)) == "All."
    whole = ResponsesDialect().decoder(request(), ENDPOINT)
    whole.feed_body(json.dumps(end(output=[SEALED, message("All."), call("a", '{"x": 1}')])["response"]).encode())
    assert whole.finish().message == reply.message


WORDS = (CREATED, added(0, message("")), delta("output_text", 0, "half"))


@pytest.mark.parametrize(
    ("events", "error", "text"),
    [
        (WORDS, errors.StreamBroken, "without a finish reason"),
        ((CREATED, end()), errors.EmptyAnswer, ""),
        ((*WORDS, end("failed", error={"code": "server_error", "message": "Oops"})), errors.StreamBroken, "Oops"),
        ((CREATED, end("failed", error={"code": "server_error", "message": "Oops"})), errors.Overloaded, "Oops"),
        (
            (CREATED, end("failed", error={"code": "rate_limit_exceeded", "message": "Slow"})),
            errors.RateLimited,
            "Slow",
        ),
        ((CREATED, end("failed", error={"code": "slow_down", "message": "Slow"})), errors.Overloaded, "Slow"),
        ((CREATED, end("failed", error={"code": "invalid_prompt", "message": "No."})), errors.BadRequest, "No."),
        ((CREATED, end("failed", error={"code": "invalid_image_url", "message": "No."})), errors.BadRequest, "No."),
        (
            (CREATED, end("failed", error={"code": "context_length_exceeded", "message": "Too long"})),
            errors.ContextOverflow,
            "Too long",
        ),
        (
            (CREATED, end("failed", error={"code": "insufficient_quota", "message": "Pay"})),
            errors.PaymentRequired,
            "Pay",
        ),
        ((CREATED, end("failed", error=None)), errors.StreamBroken, "failed"),
        ((CREATED, end("cancelled")), errors.StreamBroken, "cancelled"),
        (
            (CREATED, {"type": "error", "code": "server_error", "message": "Oops", "param": None}),
            errors.Overloaded,
            "Oops",
        ),
        ((CREATED, {"type": "error", "error": {"code": "server_error", "message": "Oops"}}), errors.Overloaded, "Oops"),
        ((*WORDS, {"type": "error", "code": None, "message": "Oops"}), errors.StreamBroken, "Oops"),
        ((CREATED, {"error": {"message": "Oops", "code": 502}, "type": "gateway"}), errors.Overloaded, "Oops"),
    ],
)
def test_how_it_breaks(events: tuple[dict[str, Any], ...], error: type[errors.ModelError], text: str) -> None:
    with pytest.raises(error) as broken:
        read(stream(*events))
    assert type(broken.value) is error
    assert text in broken.value.message
    if events[:3] == WORDS:
        assert broken.value.partial is not None
        assert (broken.value.partial.text, broken.value.partial.incomplete) == ("half", True)


@pytest.mark.parametrize(
    ("last", "finish", "incomplete"),
    [
        (end("incomplete", incomplete_details={"reason": "max_output_tokens"}), "length", True),
        (end("incomplete", incomplete_details=None), "length", True),
        (end(), "stop", False),
    ],
)
def test_how_it_ends(last: dict[str, Any], finish: str, incomplete: bool) -> None:
    _, reply = read(stream(*WORDS, last))
    assert (reply.finish, reply.message.text, reply.message.incomplete) == (finish, "half", incomplete)


def test_thoughts_that_the_provider_left_out_are_told() -> None:
    gone = [
        {"type": "reasoning", "id": "rs_0", "action": "removed", "reason": "prefix_mismatch"},
        {"type": "other"},
        None,
    ]
    _, reply = read(stream(*WORDS, end(input_transformations=gone)))
    assert reply.left == ("the provider dropped them: prefix mismatch",)
    _, kept = read(stream(*WORDS, end(input_transformations=None)))
    assert kept.left == ()


def test_a_server_that_speaks_chat_alone_is_told_of() -> None:
    refusal = ResponsesDialect().classify(404, {}, b"Not Found", ENDPOINT)
    assert 'dialect = "chat" under [endpoints.openai]' in str(refusal.remedy)
    missing = ResponsesDialect().classify(
        404, {}, b'{"error": {"code": "model_not_found", "message": "No m"}}', ENDPOINT
    )
    assert isinstance(missing, errors.ModelNotFound)


def test_a_refusal_has_its_words() -> None:
    refusal = {**message(""), "content": [{"type": "refusal", "refusal": "I won't."}]}
    for events in ([delta("refusal", 0, "I won't."), done(0, refusal)], [done(0, refusal)]):
        with pytest.raises(errors.Refused, match="I won't") as refused:
            read(stream(CREATED, *events, end()))
        assert not refused.value.cut
    with pytest.raises(errors.Refused, match="content_filter") as refused:
        read(stream(*WORDS, end("incomplete", incomplete_details={"reason": "content_filter"})))
    assert refused.value.cut
    assert refused.value.partial is not None
    assert refused.value.partial.text == "half"


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["type", "output_index", "delta", "item", "response", "error", "item_id", "summary_index"]),
            st.recursive(
                st.none()
                | st.integers()
                | st.sampled_from(
                    [
                        "response.completed",
                        "response.output_item.done",
                        "response.output_item.added",
                        "response.output_text.delta",
                        "response.reasoning_text.delta",
                        "message",
                        "reasoning",
                        "function_call",
                    ]
                ),
                lambda inner: st.dictionaries(
                    st.sampled_from(
                        ["type", "id", "name", "arguments", "content", "summary", "output", "status", "usage"]
                    ),
                    inner | st.lists(inner, max_size=2),
                    max_size=4,
                ),
                max_leaves=6,
            ),
            max_size=4,
        ),
        max_size=5,
    )
)
def test_junk_is_an_error_of_ours_or_nothing(payloads: list[dict[str, Any]]) -> None:
    decoding = ResponsesDecoder(request(), ENDPOINT)
    try:
        for payload in payloads:
            decoding.feed("message", json.dumps(payload))
        decoding.finish()
    except errors.ModelError as error:
        assert error.message


# Against a server that seals its thoughts together with everything before them


def test_a_tool_loop_keeps_every_sealed_thought() -> None:
    async def talk() -> None:
        server = SigningEndpoint(Script(models={NEW: Behaviour(steps=tool_loop(6))}), sealed_items_bind=True)
        endpoint = ENDPOINT.with_(api_key="sk-one", base_url="http://127.0.0.1:9/v1")
        it = door(endpoint=endpoint, dialects={}, transport=server.transport())
        history = [system("S"), user("go")]
        for _turn in range(2):
            while True:
                asked = request(NEW, *history, tools=(TOOL,), reasoning="high")
                reply = await it.client.complete(asked, CallContext("main", session="s1"))
                history.append(reply.message)
                if not reply.message.tool_calls:
                    break
                history += [tool_result(one, "found") for one in reply.message.tool_calls]
            history.append(user("once more"))
        assert (server.refusals, server.losses(), server.breaks()) == ([], [], [])
        assert len(server.calls()) == 14
        # Each request brings everything that the one before it sent to the same cache, under the same key.
        assert {call.body["prompt_cache_key"] for call in server.calls()} == {"s1"}
        await it.client.aclose()

    asyncio.run(talk())
