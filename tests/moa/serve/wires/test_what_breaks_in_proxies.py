"""What breaks most in proxies between wires, by the reports of their users: each has its test here, or beside it for one wire alone."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agent.llm.messages import Message, TextPart
from agent.llm.stream import Reply, Retrying, TextDelta
from moa.serve.wires.registry import wire_named
from moa.serve.wires.usage import estimate_body
from tests.moa.serve.wires.test_features import IMAGE, PNG, TEXT, body, loop, tool, user
from tests.moa.serve.wires.test_streams import asked, short
from tests.support.crossing import PAIRS, WIRES, Crossing, events
from tests.support.script import Say

LAST = {"messages": "message_stop", "responses": "completed", "chat": "[DONE]"}


@pytest.mark.parametrize(("wire", "dialect"), PAIRS)
def test_a_stream_that_ends_without_its_last_event_after_a_200(wire: str, dialect: str) -> None:
    crossing = Crossing(wire, dialect)
    whole = crossing.bytes(Say(text="Hello there."))
    assert short(wire, crossing.answer(asked(wire), whole))[-1] == LAST[wire]
    lines = whole.split(b"\n\n")
    for cut in range(1, len(lines) - 1):
        names = short(wire, crossing.answer(asked(wire), b"\n\n".join(lines[:cut]) + b"\n\n"))
        ended = names[-1] == LAST[wire]
        # Whatever is missing, the client is told: it was whole, or it was not.
        assert ended or names[-1] in ("error", "failed"), names
        reason = {
            "anthropic": b'"stop_reason": "end_turn"',
            "chat": b'"finish_reason": "stop"',
            "responses": b"response.completed",
        }
        assert ended is (reason[dialect] in b"".join(lines[:cut])), names


@pytest.mark.parametrize(("wire", "dialect"), PAIRS)
def test_half_a_tool_call_closed_as_a_success(wire: str, dialect: str) -> None:
    crossing = Crossing(wire, dialect)
    whole = crossing.bytes(Say(text=""), calls=(("call_1", "read", '{"path": "a", "then": "b"}'),))
    lines = whole.split(b"\n\n")
    for cut in range(1, len(lines) - 1):
        data = b"\n\n".join(lines[:cut]) + b"\n\n"
        told = events(crossing.answer(asked(wire), data))
        stopped = [event for event in told if isinstance(event, dict) and _stops(event)]
        if stopped:
            assert _written(told) == {"path": "a", "then": "b"}


def _stops(event: dict[str, Any]) -> bool:
    kind = event.get("type", "")
    if kind:
        return kind in ("content_block_stop", "response.output_item.done")
    return bool(event["choices"]) and event["choices"][0]["finish_reason"] == "tool_calls"


def _written(told: list[Any]) -> Any:
    text = ""
    for event in told:
        if not isinstance(event, dict):
            continue
        if event.get("type") == "response.function_call_arguments.delta":
            text += event["delta"]
        elif event.get("type") == "content_block_delta":
            text += event["delta"].get("partial_json", "")
        elif event.get("choices"):
            calls = event["choices"][0]["delta"].get("tool_calls", [])
            text += "".join(call["function"].get("arguments", "") for call in calls)
    return json.loads(text)


@pytest.mark.parametrize("wire", ["messages", "responses"])
def test_content_blocks_out_of_order(wire: str) -> None:
    """Thoughts, words and calls that come mixed: one `message_start`, no delta outside of its block, none lost."""
    deltas: list[dict[str, Any]] = [
        {"reasoning": "Hm."},
        {"content": "So."},
        {"reasoning": " But."},
        {"tool_calls": [{"index": 0, "id": "c0", "function": {"name": "read", "arguments": "{"}}]},
        {"content": " And."},
        {"reasoning": " Then."},
        {"tool_calls": [{"index": 0, "function": {"arguments": "}"}}]},
    ]
    chunks = [{"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]})
    data = b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks)
    told = events(Crossing(wire, "chat").answer(asked(wire), data))
    open_at: Any = None
    texts: dict[str, str] = {}
    for event in told:
        kind, at = event["type"], event.get("index", event.get("output_index"))
        if kind in ("content_block_start", "response.output_item.added"):
            assert open_at is None
            open_at = at
        elif kind in ("content_block_stop", "response.output_item.done"):
            assert open_at == at
            open_at = None
        elif "delta" in event and at is not None:
            assert open_at == at
            delta = event["delta"]
            name, piece = (
                next((n, p) for n, p in delta.items() if n != "type") if isinstance(delta, dict) else (kind, delta)
            )
            texts[name] = texts.get(name, "") + piece
    assert open_at is None
    assert sum(event["type"] in ("message_start", "response.created") for event in told) == 1
    said = sorted(text for name, text in texts.items() if name != "signature")
    assert said == sorted(["Hm. But. Then.", "So. And.", "{}"])


@pytest.mark.parametrize(("wire", "dialect"), PAIRS)
def test_usage_missing_or_zero(wire: str, dialect: str) -> None:
    crossing = Crossing(wire, dialect)
    _status, whole = crossing.whole(
        asked(wire), crossing.bytes(Say(text="Hello there."), prompt_tokens=0, cached_tokens=0)
    )
    usage = whole["usage"]
    assert usage.get("input_tokens", usage.get("prompt_tokens")) > 0
    assert usage.get("output_tokens", usage.get("completion_tokens")) > 0


def test_count_tokens_missing() -> None:
    assert wire_named("messages").count(7) == {"input_tokens": 7}
    assert wire_named("responses").count(7)["input_tokens"] == 7


@pytest.mark.parametrize("wire", WIRES)
def test_model_ids_and_dated_suffixes(wire: str) -> None:
    """The client is told a model, and what it called it is not sent on."""
    crossing = Crossing(wire, "chat" if wire != "chat" else "anthropic", model="main-20260101")
    _status, whole = crossing.whole({**asked(wire), "model": "moa/p"}, crossing.bytes(Say(text="Hello.")))
    assert crossing.sent[-1]["model"] == "main-20260101"
    assert whole["model"]


@pytest.mark.parametrize("wire", WIRES)
def test_tools_that_are_an_empty_list_are_not_sent_on(wire: str) -> None:
    sent = Crossing(wire, "chat" if wire != "chat" else "responses").upstream(body(wire, tools=[]))
    assert "tools" not in sent and "tool_choice" not in sent


@pytest.mark.parametrize(("wire", "dialect"), PAIRS)
def test_parallel_tool_calls_mangled(wire: str, dialect: str) -> None:
    """Two calls are two calls, in both directions, with their own ids and results."""
    crossing = Crossing(wire, dialect)
    calls = (("c1", "read", '{"path": "a"}'), ("c2", "read", '{"path": "b"}'))
    text = json.dumps(crossing.whole(body(wire, tools=[tool(wire)]), crossing.bytes(Say(text=""), calls=calls))[1])
    assert text.index('"c1"') < text.index('"c2"')
    sent = json.dumps(crossing.upstream(body(wire, **loop(wire, "one", "two"))))
    assert sent.count('"c1"') == sent.count('"c2"') == 2


@pytest.mark.parametrize("wire", WIRES)
def test_an_image_is_not_counted_by_its_letters(wire: str) -> None:
    """A client that is told a million tokens compacts at once."""
    image = json.loads(json.dumps(IMAGE[wire]).replace(PNG, "iVBORw0KGgo" * 100_000))
    words = body(wire, **user(wire, TEXT[wire]))
    assert 500 < estimate_body(body(wire, **user(wire, TEXT[wire], image))) - estimate_body(words) < 5_000
    text = {**TEXT[wire], "text": "word " * 10_000}
    assert estimate_body(body(wire, **user(wire, text))) > 9_000


@pytest.mark.parametrize("wire", WIRES)
def test_an_answer_that_began_anew_is_not_given_twice(wire: str) -> None:
    encoder = wire_named(wire).encoder("main", asked(wire))
    encoder.feed(Retrying("not yet", 0.0))  # nothing was sent by then
    said = (
        encoder.feed(TextDelta("Half of"))
        + encoder.feed(Retrying("written badly", 0.0))
        + encoder.feed(TextDelta("All."))
    )
    reply = Reply(message=Message(role="assistant", parts=(TextPart(text="All."),)), finish="stop")
    assert short(wire, said + encoder.end(reply))[-1] in ("error", "failed")
