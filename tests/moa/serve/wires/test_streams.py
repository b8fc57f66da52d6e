"""What a client gets: its own wire's events in their order, for answers that end well and for those that do not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agent.errors import UsageError
from agent.llm import errors
from moa.serve.wires.registry import wire_named
from tests.moa.serve.wires.test_features import body, tool
from tests.support.crossing import PAIRS, SAME, WIRES, Crossing, events
from tests.support.script import Say

CALLS = (("call_1", "read", '{"path": "a"}'), ("call_2", "read", '{"path": "b"}'))


def asked(wire: str, **fields: Any) -> dict[str, Any]:
    more = {"stream_options": {"include_usage": True}} if wire == "chat" else {}
    return body(wire, stream=True, tools=[tool(wire)], **more, **fields)


def short(wire: str, data: bytes) -> list[Any]:
    """The events of a stream by their names, deltas of one kind as one."""
    names: list[Any] = []
    for event in events(data):
        name = _name(wire, event)
        if not names or names[-1] != name:
            names.append(name)
    return names


def _name(wire: str, event: Any) -> Any:
    if wire != "chat" or isinstance(event, str):
        index = event.get("index", event.get("output_index")) if isinstance(event, dict) else None
        name = event["type"].removeprefix("response.") if isinstance(event, dict) else event
        return name if index is None else f"{name} {index}"
    if "error" in event:
        return "error"
    if not event["choices"]:
        return "usage"
    choice = event["choices"][0]
    if choice["finish_reason"]:
        return choice["finish_reason"]
    (field,) = [name for name in choice["delta"] if name != "content" or "role" not in choice["delta"]] or ["-"]
    if field == "tool_calls":
        return f"call {choice['delta']['tool_calls'][0]['index']}"
    return field


ORDER: dict[str, list[str]] = {
    "messages": [
        *("message_start", "content_block_start 0", "content_block_delta 0", "content_block_stop 0"),
        *("content_block_start 1", "content_block_delta 1", "content_block_stop 1"),
        *("content_block_start 2", "content_block_delta 2", "content_block_stop 2"),
        *("content_block_start 3", "content_block_delta 3", "content_block_stop 3"),
        *("message_delta", "message_stop"),
    ],
    "responses": [
        *("created", "in_progress", "output_item.added 0", "reasoning_summary_part.added 0"),
        *("reasoning_summary_text.delta 0", "reasoning_summary_text.done 0", "reasoning_summary_part.done 0", "output_item.done 0"),
        *("output_item.added 1", "content_part.added 1", "output_text.delta 1", "output_text.done 1"),
        *("content_part.done 1", "output_item.done 1"),
        *("output_item.added 2", "function_call_arguments.delta 2", "function_call_arguments.done 2", "output_item.done 2"),
        *("output_item.added 3", "function_call_arguments.delta 3", "function_call_arguments.done 3", "output_item.done 3"),
        "completed",
    ],
    "chat": [
        *("role", "reasoning_content", "content", "call 0", "call 1", "reasoning_details", "tool_calls", "usage", "[DONE]"),
    ],
}  # fmt: skip


@pytest.mark.parametrize(("wire", "dialect"), [pair for pair in PAIRS if pair[1] != "responses"])
def test_events_come_in_the_order_of_the_wire(wire: str, dialect: str) -> None:
    data = Crossing(wire, dialect).say(asked(wire), Say(text="Hello", reasoning="Hm, so."), calls=CALLS)
    assert short(wire, data) == ORDER[wire]
    numbers = [event.get("sequence_number") for event in events(data) if isinstance(event, dict)]
    assert wire != "responses" or numbers == list(range(len(numbers)))


@pytest.mark.parametrize(("wire", "dialect"), PAIRS)
def test_usage_counts_the_same_tokens_on_every_wire(wire: str, dialect: str) -> None:
    crossing = Crossing(wire, dialect)
    data = crossing.answer(asked(wire), crossing.bytes(Say(text="Hello")), {"cost": 0.25})
    last = [event for event in events(data) if isinstance(event, dict)]
    usage = {
        "messages": lambda: last[-2]["usage"],
        "responses": lambda: last[-1]["response"]["usage"],
        "chat": lambda: last[-1]["usage"],
    }[wire]()
    want = {
        "messages": {"input_tokens": 20, "cache_read_input_tokens": 100, "cache_creation_input_tokens": 0, "output_tokens": 2},
        "responses": {"input_tokens": 120, "output_tokens": 2, "total_tokens": 122, "input_tokens_details": {"cached_tokens": 100}},
        "chat": {"prompt_tokens": 120, "completion_tokens": 2, "total_tokens": 122, "prompt_tokens_details": {"cached_tokens": 100}},
    }[wire]  # fmt: skip
    assert {**usage, **want, "cost": 0.25} == usage


def test_an_upstream_without_usage_is_estimated_so_that_clients_compact() -> None:
    crossing = Crossing("messages", "chat")
    asked_for = asked("messages", messages=[{"role": "user", "content": "word " * 4000}])
    data = crossing.answer(asked_for, crossing.bytes(Say(text="Hello"), wants_usage=False))
    assert events(data)[-2]["usage"]["input_tokens"] > 4000


ENDS = {
    ("stop", "messages"): "end_turn", ("stop", "chat"): "stop", ("stop", "responses"): "completed",
    ("length", "messages"): "max_tokens", ("length", "chat"): "length", ("length", "responses"): "incomplete max_output_tokens",
    ("content_filter", "messages"): "refusal", ("content_filter", "chat"): "content_filter",
    ("content_filter", "responses"): "incomplete content_filter",
}  # fmt: skip


def end_of(wire: str, last: dict[str, Any]) -> str:
    if wire == "messages":
        return str(last["stop_reason"])
    if wire == "chat":
        return str(last["finish_reason"])
    details = last["incomplete_details"]
    return f"{last['status']} {details['reason']}" if details else str(last["status"])


@pytest.mark.parametrize("finish", ["stop", "length", "content_filter"])
@pytest.mark.parametrize(("wire", "dialect"), [pair for pair in PAIRS if pair[1] != "responses"])
def test_why_it_stopped_streaming_and_whole(wire: str, dialect: str, finish: str) -> None:
    crossing = Crossing(wire, dialect)
    say = Say(text="Hello", finish=finish)
    told = [event for event in events(crossing.say(asked(wire), say)) if isinstance(event, dict)]
    streamed = {
        "messages": lambda: told[-2]["delta"],
        "chat": lambda: told[-2]["choices"][0],
        "responses": lambda: told[-1]["response"],
    }[wire]()
    status, whole = crossing.whole(asked(wire), crossing.bytes(say))
    whole = whole["choices"][0] if wire == "chat" else whole
    assert (status, end_of(wire, streamed), end_of(wire, whole)) == (200, ENDS[finish, wire], ENDS[finish, wire])


@pytest.mark.parametrize("shape", ["cut", "error_chunk"])
@pytest.mark.parametrize(("wire", "dialect"), PAIRS)
def test_a_broken_stream_ends_with_the_error_event_and_no_half_call_is_closed(
    wire: str, dialect: str, shape: str
) -> None:
    crossing = Crossing(wire, dialect)
    if shape == "cut":
        whole = crossing.bytes(Say(text="So."), calls=CALLS[:1])
        marks = {"anthropic": b"partial_json", "responses": b"arguments.delta", "chat": b'"arguments": "th'}
        data = whole[: whole.index(b"\n\n", whole.index(marks[dialect])) + 2]
    else:
        data = crossing.bytes(Say(text="So.", shape=shape))
    names = short(wire, crossing.answer(asked(wire), data))
    assert names[-1] == {"messages": "error", "responses": "failed", "chat": "error"}[wire]
    ends = {"message_stop", "message_delta", "completed", "incomplete", "[DONE]", "tool_calls", "usage"}
    assert not ends & set(names)
    assert shape != "cut" or not {"content_block_stop 1", "output_item.done 1"} & set(names)


@pytest.mark.parametrize(("wire", "dialect"), [pair for pair in PAIRS if pair[1] == "chat" and pair[0] != "chat"])
def test_a_call_that_the_limit_cut_is_not_given_to_be_run(wire: str, dialect: str) -> None:
    crossing = Crossing(wire, dialect)
    cut = (("call_1", "read", '{"path": "a'),)
    names = short(wire, crossing.say(asked(wire), Say(text="So.", finish="length"), calls=cut))
    assert not {"content_block_stop 1", "output_item.done 1"} & set(names)
    _status, whole = crossing.whole(asked(wire), crossing.bytes(Say(text="So.", finish="length"), calls=cut))
    assert len(whole["content" if wire == "messages" else "output"]) == 1


def chunk(delta: dict[str, Any], **more: Any) -> bytes:
    return (
        b"data: "
        + json.dumps({"choices": [{"index": 0, "delta": delta, "finish_reason": None, **more}]}).encode()
        + b"\n\n"
    )


def call(index: int, arguments: str, id: str | None = None) -> dict[str, Any]:
    named = (
        {"id": id, "function": {"name": "read", "arguments": arguments}}
        if id
        else {"function": {"arguments": arguments}}
    )
    return {"tool_calls": [{"index": index, **named}]}


MIXED = b"".join(
    (
        chunk({"content": "So."}),
        chunk(call(0, '{"path"', "c0")),
        chunk(call(1, '{"path": ', "c1")),
        chunk({"content": " And so on."}),
        chunk(call(0, ': "a"}')),
        chunk(call(1, '"b"}')),
        chunk({}, finish_reason="tool_calls"),
        b"data: [DONE]\n\n",
    )
)


@pytest.mark.parametrize("wire", ["messages", "responses"])
def test_parallel_calls_that_come_mixed_up_are_put_in_order(wire: str) -> None:
    data = Crossing(wire, "chat").answer(asked(wire), MIXED)
    if wire == "messages":
        starts = [event["content_block"] for event in events(data) if event["type"] == "content_block_start"]
        assert [(block["type"], block.get("id")) for block in starts] == [
            ("text", None), ("tool_use", "c0"), ("tool_use", "c1"), ("text", None),
        ]  # fmt: skip
        written = [event["delta"]["partial_json"] for event in events(data) if "partial_json" in event.get("delta", {})]
    else:
        items = events(data)[-1]["response"]["output"]
        assert [item.get("call_id") for item in items] == [None, "c0", "c1", None]
        written = [item["arguments"] for item in items if item["type"] == "function_call"]
    assert "".join(written) == '{"path": "a"}{"path": "b"}'
    open_at = None
    for event in events(data) if wire == "messages" else ():
        if event["type"] == "content_block_start":
            assert open_at is None
            open_at = event["index"]
        elif event["type"] == "content_block_delta":
            assert event["index"] == open_at
        elif event["type"] == "content_block_stop":
            open_at = None


def test_a_free_form_call_comes_back_as_one() -> None:
    tools = [{"type": "custom", "name": "patch"}, {"type": "namespace", "name": "web", "tools": [tool("responses")]}]
    written = (("c1", "patch", '{"input": "*** Begin\\n"}'), ("c2", "web__read", '{"path": "a"}'))
    told = events(Crossing("responses", "anthropic").say(body("responses", tools=tools), Say(text=""), calls=written))
    free, spaced = told[-1]["response"]["output"]
    assert (free["type"], free["input"], free["name"]) == ("custom_tool_call", "*** Begin\n", "patch")
    assert (spaced["name"], spaced["namespace"]) == ("read", "web")
    assert [event["type"] for event in told if "custom_tool" in event["type"]] == [
        "response.custom_tool_call_input.delta", "response.custom_tool_call_input.done",
    ]  # fmt: skip


REFUSALS = [
    (errors.BadRequest("no", status=422), 422, "invalid_request_error", None, "false"),
    (errors.ContextOverflow("too much", status=400), 400, "invalid_request_error", "context_length_exceeded", "false"),
    (errors.ModelNotFound("no such", status=404), 404, "not_found_error", "model_not_found", "false"),
    (errors.AuthError("key", status=401), 401, "authentication_error", "invalid_api_key", "false"),
    (errors.AuthError("key", status=403), 403, "permission_error", "permission_denied", "false"),
    (errors.PaymentRequired("pay", status=402), 402, "billing_error", "insufficient_quota", "false"),
    (errors.RateLimited("slow", status=429, retry_after=7.2), 429, "rate_limit_error", "rate_limit_exceeded", "true"),
    (errors.Overloaded("busy", status=529), 529, "overloaded_error", "server_is_overloaded", "true"),
    (errors.ConnectionFailed("gone"), 502, "api_error", "server_error", "true"),
    (errors.TimedOut("late", clock="silence"), 504, "timeout_error", "timeout", "true"),
    (errors.StreamBroken("broke"), 502, "api_error", "server_error", "true"),
    (errors.AnswerTooLong("long"), 502, "api_error", "server_error", "false"),
    (errors.EmptyAnswer("empty"), 502, "api_error", "empty_answer", "true"),
    (errors.BudgetReached("cap", cap="day", remedy="raise it"), 402, "billing_error", "budget_reached", "false"),
    (UsageError("there is no endpoint 'x'"), 400, "invalid_request_error", None, "false"),
    (RuntimeError("secret of the inside"), 500, "api_error", "internal_error", "false"),
]  # fmt: skip


@pytest.mark.parametrize(("error", "status", "kind", "code", "again"), REFUSALS, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("wire", WIRES)
def test_errors_in_the_shape_of_the_client(
    wire: str, error: Exception, status: int, kind: str, code: str | None, again: str
) -> None:
    found, said, headers = wire_named(wire).error(error)
    assert (found, headers["x-should-retry"]) == (status, again)
    assert "secret" not in json.dumps(said)
    if wire == "messages":
        assert (said["type"], said["error"]["type"]) == ("error", kind)
    else:
        assert said["error"]["code"] == code
    assert headers.get("retry-after") == ("8" if isinstance(error, errors.RateLimited) else None)
    if isinstance(error, errors.ContextOverflow):
        assert "prompt is too long" in said["error"]["message"]  # what makes Claude Code compact


def test_the_wires_say_which_dialect_needs_no_translation() -> None:
    assert {name: wire_named(name).dialect for name in WIRES} == SAME


URL = "https://example.com/a"
CITES: dict[str, bytes] = {
    "chat": chunk({"content": "So.", "annotations": [{"type": "url_citation", "url_citation": {"url": URL, "title": "A", "start_index": 0, "end_index": 3}}]})
    + chunk({}, finish_reason="stop"),
    "anthropic": b"".join(
        b"data: " + json.dumps(event).encode() + b"\n\n"
        for event in (
            {"type": "message_start", "message": {"id": "m", "model": "main"}},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "So."}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "citations_delta", "citation": {"url": URL, "title": "A", "cited_text": "q"}}},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"input_tokens": 5, "output_tokens": 5}},
        )
    ),
    "responses": b"data: "
    + json.dumps(
        {
            "type": "response.completed",
            "response": {
                "status": "completed",
                "output": [{"type": "message", "id": "m", "content": [{"type": "output_text", "text": "So.", "annotations": [{"type": "url_citation", "url": URL, "title": "A"}]}]}],
            },
        }
    ).encode()
    + b"\n\n",
}  # fmt: skip


@pytest.mark.parametrize(("wire", "dialect"), PAIRS)
def test_sources_of_an_answer_are_named_streaming_and_whole(wire: str, dialect: str) -> None:
    crossing = Crossing(wire, dialect)
    told = events(crossing.answer(asked(wire), CITES[dialect]))
    _status, whole = crossing.whole(asked(wire), CITES[dialect])
    if wire == "messages":
        found = [
            event["delta"]["citation"] for event in told if event.get("delta", {}).get("type") == "citations_delta"
        ]
        found += whole["content"][0]["citations"]
    elif wire == "responses":
        found = [event["annotation"] for event in told if "annotation" in event]
        found += told[-1]["response"]["output"][0]["content"][0]["annotations"]
        found += whole["output"][0]["content"][0]["annotations"]
    else:
        deltas = [event["choices"][0]["delta"] for event in told if event != "[DONE]" and event["choices"]]
        found = [each["url_citation"] for delta in deltas for each in delta.get("annotations", ())]
        found += [each["url_citation"] for each in whole["choices"][0]["message"]["annotations"]]
    assert [(cited["url"], cited["title"]) for cited in found] == [(URL, "A")] * (3 if wire == "responses" else 2)
