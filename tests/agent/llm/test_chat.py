"""Chat Completions: what goes out, what comes back, and the ways in which it goes wrong."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.llm import errors
from agent.llm.dialects.chat import TAIL_MARK, ChatDialect
from agent.llm.dialects.chat_decoder import ChatDecoder
from agent.llm.messages import Message, ReasoningPart, TextPart, ToolCallPart, assistant, system, tool_result, user
from agent.llm.models.endpoint import WELL_KNOWN, Endpoint
from agent.llm.models.quirks import known
from agent.llm.net.sse import events_of
from agent.llm.request import ModelRef, Request, Schema, ToolSpec
from agent.llm.stream import ReasoningDelta, Reply, StreamEvent, TextDelta, ToolCallDelta, Usage

TOOL = ToolSpec("read", "Read a file.", {"type": "object", "properties": {"path": {"type": "string"}}})
SCHEMA = Schema("analysis", {"type": "object", "properties": {"a": {"type": "string"}}})


def request(endpoint: str = "openrouter", model: str = "author/model", *messages: Message, **options: Any) -> Request:
    return Request(ModelRef(endpoint, model), messages or (system("Be brief."), user("Hi")), **options)


def encode(request: Request, *learned: str) -> dict[str, Any]:
    endpoint = WELL_KNOWN[request.model.endpoint]
    return ChatDialect().encode(request, endpoint, known(endpoint, request.model.model) | set(learned))


def sse(*chunks: dict[str, Any] | str) -> bytes:
    lines = [chunk if isinstance(chunk, str) else "data: " + json.dumps(chunk, ensure_ascii=False) for chunk in chunks]
    return ("\n\n".join(lines) + "\n\n").encode()


def delta(finish: str | None = None, **fields: Any) -> dict[str, Any]:
    return {"id": "gen-1", "model": "served", "choices": [{"index": 0, "delta": fields, "finish_reason": finish}]}


def decoder() -> ChatDecoder:
    return ChatDialect().decoder(request(), WELL_KNOWN["openrouter"])


def read(body: bytes, decoding: ChatDecoder | None = None) -> tuple[list[StreamEvent], Reply]:
    """A stream, read as the client reads it."""
    decoding = decoding or decoder()
    events = [event for sent in events_of(body) for event in decoding.feed(sent.name, sent.data)]
    return events, decoding.finish()


# What goes out


def test_the_tail_is_a_message_of_its_own_and_the_last_thing() -> None:
    body = encode(request(tail="advice"))
    assert body["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
        {"role": "user", "content": "advice"},
    ]
    assert body["stream"] is True
    assert body["max_tokens"] == 16_000


def test_where_turns_are_strict_the_tail_joins_a_copy_of_the_last_message() -> None:
    call = ToolCallPart(id="c1", name="read", arguments='{"path": "a"}')
    history = (user("Read a."), assistant("", call), tool_result(call, "text of a"))
    body = encode(request("llamacpp", "m", *history, tail="advice", tools=(TOOL,)), "strict_alternation")
    assert [message["role"] for message in body["messages"]] == ["user", "assistant", "tool"]
    assert body["messages"][-1]["content"] == "text of a" + TAIL_MARK + "advice"
    assert history[-1].text == "text of a"


def test_breakpoints_sit_on_stable_text_only() -> None:
    call = ToolCallPart(id="c1", name="read", arguments="{}")
    history = (system("S"), user("one"), assistant("", call), tool_result(call, "found"))
    body = encode(request("openrouter", "anthropic/claude-opus-4.8", *history, tail="advice", tools=(TOOL,)))
    marked = [message["role"] for message in body["messages"] if "cache_control" in json.dumps(message)]
    assert marked == ["system", "user", "tool"]
    assert body["messages"][-1]["content"] == "advice"


def test_reasoning_returns_to_the_model_that_thought_it_and_to_no_other() -> None:
    call = ToolCallPart(id="c1", name="read", arguments="{}")
    details = [{"type": "reasoning.encrypted", "data": "xyz", "format": "google-gemini-v1"}]
    thought = Message(
        role="assistant",
        parts=(ReasoningPart(text="hm"), call),
        origin="openrouter:author/model",
        extra={"reasoning_details": details},
    )
    history = (user("go"), thought, tool_result(call, "ok"))
    assert encode(request("openrouter", "author/model", *history))["messages"][1]["reasoning_details"] == details
    assert "reasoning" not in json.dumps(encode(request("openrouter", "other/model", *history))["messages"])

    own = replace(thought, origin="deepseek:deepseek-v4-pro", extra=None)
    deepseek = request("deepseek", "deepseek-v4-pro", user("go"), own, tool_result(call, "ok"))
    assert encode(deepseek)["messages"][1]["reasoning_content"] == "hm"
    # A call that another model made must carry some, or DeepSeek refuses the loop.
    assert encode(request("deepseek", "deepseek-v4-pro", *history))["messages"][1]["reasoning_content"] == " "


@pytest.mark.parametrize(
    ("endpoint", "model", "learned", "options", "expected"),
    [
        ("openrouter", "a/b", (), {"reasoning": "max"}, {"reasoning": {"effort": "max"}}),
        ("openai", "m", (), {"reasoning": "max"}, {"reasoning_effort": "xhigh"}),
        ("openai", "gpt-4.1", (), {"reasoning": "max"}, {"reasoning_effort": None}),
        ("groq", "m", (), {"reasoning": "minimal"}, {"reasoning_effort": "low"}),
        ("deepseek", "m", (), {"reasoning": "none"}, {"thinking": {"type": "disabled"}}),
        ("openai", "m", ("reasoning_off_with_tools",), {"tools": (TOOL,)}, {"reasoning_effort": "none"}),
        ("openai", "m", ("no_reasoning",), {"reasoning": "high"}, {"reasoning_effort": None}),
        (
            "openai",
            "gpt-5.5",
            (),
            {"temperature": 0.7, "max_tokens": 9},
            {"temperature": None, "max_completion_tokens": 9},
        ),
        ("vllm", "m", (), {"temperature": 0.7}, {"temperature": 0.7, "stream_options": {"include_usage": True}}),
        ("openrouter", "m", (), {}, {"stream_options": None}),
        ("vllm", "m", (), {"tools": (TOOL,), "tool_choice": "required"}, {"tool_choice": "required"}),
        ("moonshot", "m", (), {"tools": (TOOL,), "tool_choice": "required"}, {"tool_choice": None}),
        ("deepseek", "m", (), {"schema": SCHEMA}, {"response_format": {"type": "json_object"}}),
        ("openrouter", "m", (), {"schema": SCHEMA}, {"provider": {"require_parameters": True}}),
    ],
)
def test_options_follow_the_endpoint(
    endpoint: str, model: str, learned: tuple[str, ...], options: dict[str, Any], expected: dict[str, Any]
) -> None:
    body = encode(request(endpoint, model, **options), *learned)
    assert {key: body.get(key) for key in expected} == expected


def test_a_schema_steps_down_only_as_far_as_it_must() -> None:
    strict = encode(request("openai", "m", schema=SCHEMA, tail="compare"))
    assert strict["response_format"]["json_schema"]["strict"] is True
    assert strict["messages"][-1]["content"] == "compare"

    loose = encode(request("lmstudio", "m", schema=Schema("a", SCHEMA.schema, "json_object")))
    assert loose["response_format"]["json_schema"]["schema"] == {"type": "object"}

    prompted = encode(request("openai", "m", schema=SCHEMA, tail="compare"), "no_json_schema", "no_json_object")
    assert "response_format" not in prompted
    assert prompted["messages"][-1]["content"].startswith("compare\n\nAnswer with one JSON object")


# What comes back


def test_a_streamed_answer_with_everything_in_it() -> None:
    usage = {
        "prompt_tokens": 100,
        "completion_tokens": 20,
        "cost": 0.00123,
        "prompt_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 10},
        "completion_tokens_details": {"reasoning_tokens": 5},
    }
    details = {"type": "reasoning.text", "index": 0}
    body = sse(
        ": OPENROUTER PROCESSING",
        delta(reasoning="thin", reasoning_details=[{**details, "text": "thin"}]),
        delta(reasoning="king", reasoning_details=[{**details, "text": "king", "signature": "s"}]),
        delta(content="split\u2028line ", surprise={"new": 1}),
        "event: message\nid: 7\ndata: " + json.dumps(delta(content="two"), indent=1).replace("\n", "\ndata: "),
        delta(tool_calls=[{"index": 0, "id": "c1", "function": {"name": "read", "arguments": '{"path"'}}]),
        delta(tool_calls=[{"index": 0, "function": {"arguments": ': "a"}'}}]),
        "data: not json at all",
        delta(finish="tool_calls"),
        {"id": "gen-1", "provider": "Acme", "choices": [], "usage": usage},
        "data: [DONE]",
    )
    events, reply = read(body)
    assert events[:4] == [
        ReasoningDelta("thin"),
        ReasoningDelta("king"),
        TextDelta("split\u2028line "),
        TextDelta("two"),
    ]
    assert events[4:] == [ToolCallDelta(0, "read", '{"path"'), ToolCallDelta(0, None, ': "a"}')]
    assert reply.message.text == "split\u2028line two"
    assert reply.message.tool_calls == (ToolCallPart(id="c1", name="read", arguments='{"path": "a"}'),)
    assert reply.message.extra == {"reasoning_details": [{**details, "text": "thinking", "signature": "s"}]}
    assert reply.message.origin == "openrouter:author/model"
    assert reply.usage == Usage(100, 60, 10, 20, 5)
    assert (reply.cost_nano, reply.cost_source) == (1_230_000, "reply")
    assert (reply.finish, reply.model_served, reply.provider, reply.generation_id) == (
        "tool_calls",
        "served",
        "Acme",
        "gen-1",
    )


@pytest.mark.parametrize(
    ("chunk", "expected"),
    [
        ({"usage": {"prompt_tokens": 9, "prompt_cache_hit_tokens": 4, "completion_tokens": 1}}, Usage(9, 4, 0, 1)),
        ({"usage": {"prompt_tokens": 9, "completion_tokens": 1}, "timings": {"cache_n": 8}}, Usage(9, 8, 0, 1)),
        ({"timings": {"cache_n": 8, "prompt_n": 1, "predicted_n": 3}}, Usage(9, 8, 0, 3)),
        ({"x_groq": {"usage": {"prompt_tokens": 5, "completion_tokens": 2}}}, Usage(5, 0, 0, 2)),
    ],
)
def test_usage_is_found_where_each_server_puts_it(chunk: dict[str, Any], expected: Usage) -> None:
    _, reply = read(sse(delta(content="x", finish="stop"), {"choices": [], **chunk}))
    assert reply.usage == expected
    assert reply.cost_nano is None


@pytest.mark.parametrize(
    ("usage", "nano"),
    [
        ({"cost": -1}, None),
        ({"cost": True}, None),
        ({"cost": 0}, 0),
        ({"cost": 0.1, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.4}}, 500_000_000),
        ({"cost": 0.1, "is_byok": True}, None),
    ],
)
def test_the_cost_of_a_reply(usage: dict[str, Any], nano: int | None) -> None:
    _, reply = read(sse(delta(content="x", finish="stop"), {"choices": [], "usage": {"prompt_tokens": 1, **usage}}))
    assert reply.cost_nano == nano


def test_calls_that_share_an_index_or_lack_one_or_an_id_stay_apart() -> None:
    def whole(id: str | None, path: str, **more: Any) -> dict[str, Any]:
        return {"id": id, "function": {"name": "read", "arguments": {"path": path}}, **more}

    _, reply = read(
        sse(delta(tool_calls=[whole("a", "1", index=0)]), delta("stop", tool_calls=[whole("b", "2", index=0)]))
    )
    assert [call.id for call in reply.message.tool_calls] == ["a", "b"]
    assert reply.finish == "tool_calls"
    _, reply = read(sse(delta("stop", tool_calls=[whole(None, "1"), whole("", "2")])))
    assert len({call.id for call in reply.message.tool_calls}) == 2
    assert [json.loads(call.arguments)["path"] for call in reply.message.tool_calls] == ["1", "2"]


def test_a_whole_body_with_whatever_stands_around_it() -> None:
    body = {
        "id": "g",
        "choices": [{"message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1},
    }
    text = json.dumps(body)
    for padded in (text, f"\n\n   {text}", f": OPENROUTER PROCESSING\n\n{text}", f"{text}\n\ndata: [DONE]\n\n"):
        decoding = decoder()
        assert decoding.feed_body(padded.encode()) == [TextDelta("hello")]
        assert decoding.finish().usage == Usage(1, 0, 0, 1)
    decoding = decoder()
    assert decoding.feed_body(sse(": hi", delta(content="a\u2028b"), delta(finish="stop"))) == [TextDelta("a\u2028b")]
    assert decoding.finish().message.text == "a\u2028b"


def test_the_header_names_the_call() -> None:
    decoding = decoder()
    decoding.headers(httpx.Headers({"X-Generation-Id": "gen-header"}))
    read(sse(delta("stop", content="x")), decoding)
    assert decoding.generation_id == "gen-header"


# How it goes wrong: the seven shapes, and some more

SAID = delta(content="half an ans")
USED = {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}


@pytest.mark.parametrize(
    "chunks",
    [
        [SAID, USED, {"error": {"code": 502, "message": "gone"}, "choices": [{"delta": {}, "finish_reason": "error"}]}],
        [SAID, USED, {"error": {"code": "server_error", "message": "gone"}, "choices": []}],
        [SAID, USED, {"choices": [{"delta": {}, "finish_reason": "stop", "native_finish_reason": "network_error"}]}],
        [SAID, USED, delta("network_error")],
        [SAID, USED],
        [SAID, USED, 'data: {"choices": [{"delta": {"content": "cut in tw'],
        [SAID, USED, 'event: error\ndata: {"code": 429, "message": "slow down"}'],
    ],
    ids=["error chunk", "no choices", "native error", "error word", "no finish", "damaged", "error event"],
)
def test_an_answer_that_breaks_off_keeps_what_had_arrived(chunks: list[Any]) -> None:
    with pytest.raises(errors.StreamBroken) as caught:
        read(sse(*chunks))
    assert caught.value.partial is not None
    later = caught.value.partial.text.removeprefix("half an ans")
    assert (later in ("", "cut in tw"), caught.value.partial.incomplete) == (True, True)
    # What was counted before more was said is not the count of all of it.
    assert caught.value.usage == (None if later else Usage(3, 0, 0, 2))


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (429, errors.RateLimited),
        ("rate_limit_exceeded", errors.RateLimited),
        (402, errors.PaymentRequired),
        (502, errors.Overloaded),
        ("server_error", errors.Overloaded),
        ("context_length_exceeded", errors.ContextOverflow),
        ("no such word", errors.StreamBroken),
    ],
)
def test_an_error_before_the_first_token_has_its_own_name(code: int | str, kind: type[errors.ModelError]) -> None:
    with pytest.raises(kind) as caught:
        read(sse({"error": {"code": code, "message": "no"}, "choices": []}))
    assert caught.value.partial is None


def test_an_error_inside_the_choice_of_a_whole_body() -> None:
    choice = {"message": {"content": "half"}, "finish_reason": "error", "error": {"code": 502, "message": "gone"}}
    with pytest.raises(errors.StreamBroken) as caught:
        decoder().feed_body(json.dumps({"choices": [choice]}).encode())
    assert caught.value.partial is not None
    assert caught.value.partial.text == "half"


def test_a_billed_answer_without_words_is_a_failure() -> None:
    with pytest.raises(errors.EmptyAnswer) as caught:
        read(sse(delta(reasoning="long thoughts"), delta("length"), USED))
    assert caught.value.usage == Usage(3, 0, 0, 2)
    assert "max_tokens" in str(caught.value.remedy)


def test_ends_that_are_ends() -> None:
    _, cut = read(sse(SAID, delta("length")))
    assert (cut.finish, cut.message.incomplete) == ("length", True)


def test_a_page_that_is_no_answer() -> None:
    with pytest.raises(errors.StreamBroken):
        decoder().feed_body(b"<html>Welcome</html>")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["choices", "delta", "usage", "error", "content", "tool_calls", "function", "index", "cost", "id"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.lists(json_values | st.text(max_size=12), max_size=5), st.text())
def test_junk_is_an_error_of_ours_or_nothing(chunks: list[Any], body: str) -> None:
    decoding = decoder()
    try:
        for chunk in chunks:
            decoding.feed("message", chunk if isinstance(chunk, str) else json.dumps(chunk))
        decoding.feed_body(body.encode("utf-8", "surrogatepass"))
        decoding.finish()
    except errors.ModelError as error:
        assert error.message
    partial = decoding.partial
    assert partial is None or all(not isinstance(part, TextPart) or part.text for part in partial.parts)


def test_a_key_goes_to_its_endpoint_and_nowhere_else() -> None:
    endpoint = Endpoint("mine", "https://example.org/v1", api_key="secret-123", headers={"X-A": "b"})
    headers = ChatDialect().headers(endpoint)
    assert headers["Authorization"] == "Bearer secret-123"
    assert headers["X-A"] == "b"
    assert "Authorization" not in ChatDialect().headers(endpoint.with_(api_key=None))


@given(st.text(st.characters(min_codepoint=0xD7FE, max_codepoint=0xE001), min_size=1), st.integers(1, 3))
def test_characters_that_are_cut_in_two_come_together_and_lone_halves_harm_nobody(text: str, size: int) -> None:
    """JSON escapes let an endpoint send half a character in a chunk; what is shown and what is kept have a UTF-8 form and agree."""
    units = text.encode("utf-16-le", "surrogatepass")
    halves = [chr(int.from_bytes(units[at : at + 2], "little")) for at in range(0, len(units), 2)]
    chunks = ["".join(halves[at : at + size]) for at in range(0, len(halves), size)]
    decoding = decoder()
    shown = ""
    for chunk in (*chunks, "."):
        data = {"id": "gen-\ud83d", "model": "m\ud83d", "choices": [{"index": 0, "delta": {"content": chunk}}]}
        shown += "".join(event.text for event in decoding.feed("", json.dumps(data)) if isinstance(event, TextDelta))
    decoding.feed("", json.dumps({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}))
    reply = decoding.finish()
    assert reply.message.text == shown == units.decode("utf-16-le", "replace") + "."
    assert (reply.generation_id, reply.model_served) == ("gen-\ufffd", "m\ufffd")
