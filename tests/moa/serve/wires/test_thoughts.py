"""Thoughts of an upstream survive a client that never saw them, and nobody else's go to it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.llm.messages import Message, ReasoningPart, TextPart, ToolCallPart
from agent.llm.stream import Reply
from moa.serve.wires.kept import Kept, kept_of, marks_of
from moa.serve.wires.registry import wire_named
from tests.moa.serve.wires.test_features import body, tool
from tests.support.crossing import PAIRS, WIRES, Crossing, events
from tests.support.script import Say

THOUGHT = {"type": "thinking", "thinking": "Hm.", "signature": "sig-1"}
SEALED = {
    "id": "rs_1",
    "type": "reasoning",
    "summary": [{"type": "summary_text", "text": "Hm."}],
    "encrypted_content": "sealed-1",
}
DETAIL = {"type": "reasoning.text", "text": "Hm.", "signature": "sig-1", "format": "google-gemini-v1", "index": 0}
BLOCKS: dict[str, dict[str, Any]] = {"anthropic": THOUGHT, "responses": SEALED, "chat": DETAIL}
# A client's habits: what of a reply's thoughts it sends back.
HABITS = ("faithful", "drops thoughts", "drops details")


def sent_back(wire: str, answer: dict[str, Any], habit: str) -> list[dict[str, Any]]:
    """What a client makes of a whole answer in its next request."""
    if wire == "messages":
        blocks = [block for block in answer["content"] if habit == "faithful" or block["type"] != "thinking"]
        return [{"role": "assistant", "content": blocks}]
    if wire == "responses":
        return [item for item in answer["output"] if habit == "faithful" or item["type"] != "reasoning"]
    message = dict(answer["choices"][0]["message"])
    gone = {"faithful": (), "drops details": ("reasoning_details",)}.get(
        habit, ("reasoning_details", "reasoning_content")
    )
    return [{key: value for key, value in message.items() if key not in gone and value is not None}]


def result(wire: str, id: str) -> dict[str, Any]:
    if wire == "messages":
        return {"role": "user", "content": [{"type": "tool_result", "tool_use_id": id, "content": "one"}]}
    if wire == "responses":
        return {"type": "function_call_output", "call_id": id, "output": "one"}
    return {"role": "tool", "tool_call_id": id, "content": "one"}


def thoughts(sent: dict[str, Any]) -> list[str]:
    """What is sealed in an upstream's body, in order."""
    return [word for word in ("sig-1", "sig-2", "sealed-1") if f'"{word}"' in json.dumps(sent)]


@pytest.mark.parametrize("habit", HABITS)
@pytest.mark.parametrize(("wire", "dialect"), PAIRS)
def test_a_signed_thought_survives_the_round_trip_through_the_client(wire: str, dialect: str, habit: str) -> None:
    crossing = Crossing(wire, dialect, quirks=frozenset({"reasoning_object"}))
    first = body(wire, tools=[tool(wire)])
    block = BLOCKS[dialect]
    spoken = [{"type": "text", "text": "So."}, {"type": "tool_use", "id": "c1", "name": "read", "input": {"path": "a"}}]
    blocks = (block, *spoken) if dialect == "anthropic" else (block,)
    data = crossing.bytes(Say(text="So."), blocks=blocks, calls=(("c1", "read", '{"path": "a"}'),))
    _status, answer = crossing.whole(first, data)
    assert "sig-1" not in json.dumps(answer) and "sealed-1" not in json.dumps(answer)
    key = "input" if wire == "responses" else "messages"
    second = {**first, key: [*first[key], *sent_back(wire, answer, habit), result(wire, "c1")]}
    left: list[str] = []
    sent = crossing.upstream(second, left)
    assert thoughts(sent) == ["sealed-1" if dialect == "responses" else "sig-1"]
    assert "moa1." not in json.dumps(sent) and left == []
    # A request extends the one before it, or the thought would be refused.
    before = crossing.sent[0]
    items = "input" if dialect == "responses" else "messages"
    assert _unmarked(sent[items][: len(before[items])]) == _unmarked(before[items])
    # Where nothing is kept of it any more, it is left out, and no token of ours goes on.
    crossing.kept.clear()
    assert thoughts(crossing.upstream(second)) == [] and "moa1." not in json.dumps(crossing.upstream(second))


def _unmarked(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _unmarked(item) for name, item in value.items() if name != "cache_control"}
    return [_unmarked(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("wire", [wire for wire, dialect in PAIRS if dialect == "anthropic"])
def test_a_thought_whose_beginning_was_edited_stays_behind_and_is_counted(wire: str) -> None:
    crossing = Crossing(wire, "anthropic")
    first = body(wire, tools=[tool(wire)])
    blocks = (THOUGHT, {"type": "tool_use", "id": "c1", "name": "read", "input": {}})
    _status, answer = crossing.whole(first, crossing.bytes(Say(text=""), blocks=blocks))
    key = "input" if wire == "responses" else "messages"
    edited = [{"role": "user", "content": "Hello, edited."}, *sent_back(wire, answer, "faithful"), result(wire, "c1")]
    left: list[str] = []
    assert thoughts(crossing.upstream({**first, key: edited}, left)) == []
    assert len(left) == 1


def test_thoughts_of_another_vendor_are_not_sent_to_this_one() -> None:
    crossing = Crossing("messages", "responses")
    history = [
        {"role": "user", "content": "Hello."},
        {
            "role": "assistant",
            "content": [THOUGHT, {"type": "redacted_thinking", "data": "x"}, {"type": "text", "text": "So."}],
        },
        {"role": "user", "content": "And?"},
    ]
    sent = crossing.upstream(body("messages") | {"messages": history})
    assert [item.get("role") for item in sent["input"]] == ["user", "assistant", "user"]
    assert "Hm." not in json.dumps(sent)


WORDS = st.text(alphabet=st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), min_size=1, max_size=12).filter(
    str.strip
)
ARGUMENTS = st.dictionaries(st.text(max_size=5), st.one_of(st.integers(), WORDS, st.none()), max_size=3)


@st.composite
def replies(draw: st.DrawFn) -> Message:
    """A reply as a model makes it: thoughts, words, calls; with or without something private."""
    parts: list[Any] = []
    if draw(st.booleans()):
        extra = draw(st.sampled_from([None, {"type": "thinking", "signature": "s"}]))
        parts.append(ReasoningPart(text=draw(WORDS), extra=extra))
    if draw(st.booleans()):
        parts.append(TextPart(text=draw(WORDS)))
    count = draw(st.integers(0 if any(isinstance(part, TextPart) for part in parts) else 1, 3))
    for at in range(count):
        name = draw(st.sampled_from(["read", "write"]))
        extra = draw(st.sampled_from([None, {"extra_content": {"google": 1}}]))
        parts.append(ToolCallPart(id=f"c{at}", name=name, arguments=json.dumps(draw(ARGUMENTS)), extra=extra))
    return Message(role="assistant", parts=tuple(parts), origin="up:main")


@settings(max_examples=60, deadline=None)
@given(message=replies(), wire=st.sampled_from(WIRES), streamed=st.booleans())
def test_reading_what_was_written_keeps_the_reply(message: Message, wire: str, streamed: bool) -> None:
    reply = Reply(message=message, finish="tool_calls" if message.tool_calls else "stop", binding="d k 0 s")
    asked = body(wire, tools=[tool(wire), tool(wire, "write")])
    crossing = Crossing(wire, "anthropic" if wire != "messages" else "chat")
    encoder = wire_named(wire).encoder("main", asked)
    answer = (
        _accumulated(wire, encoder.end(reply))
        if streamed
        else wire_named(wire).whole(reply, "main", asked, encoder.mark)
    )
    kept = kept_of(reply)
    assert kept is not None and Kept.read(json.loads(json.dumps(kept.plain()))) == kept
    crossing.kept.update(dict.fromkeys(marks_of(message, encoder.mark), kept))
    tail = [result(wire, call.id) for call in message.tool_calls] or [{"role": "user", "content": "And?"}]
    key = "input" if wire == "responses" else "messages"
    again = crossing.read({**asked, key: [*asked[key], *sent_back(wire, answer, "faithful"), *tail]}).request
    (found,) = [each for each in again.messages if each.role == "assistant"]
    assert _loads(found) == _loads(message)
    has_mark = bool(message.tool_calls) or bool(message.reasoning) or len(message.text) >= 24
    assert (found.origin, found.binding) == (("up:main", "d k 0 s") if has_mark else (None, None))


def _loads(message: Message) -> list[Any]:
    return [
        (part.name, json.loads(part.arguments), part.extra) if isinstance(part, ToolCallPart) else part
        for part in message.parts
    ]


def _accumulated(wire: str, data: bytes) -> dict[str, Any]:
    """What a client puts together from a stream."""
    told = [event for event in events(data) if isinstance(event, dict)]
    if wire == "responses":
        return dict(told[-1]["response"])
    if wire == "chat":
        message: dict[str, Any] = {"content": "", "role": "assistant", "tool_calls": []}
        for event in told:
            for choice in event["choices"]:
                delta = choice["delta"]
                message["content"] += delta.get("content") or ""
                message["tool_calls"] += delta.get("tool_calls") or []
                message |= {name: delta[name] for name in ("reasoning_details",) if name in delta}
        return {"choices": [{"message": {key: value for key, value in message.items() if value}}]}
    blocks: list[dict[str, Any]] = []
    for event in told:
        if event["type"] == "content_block_start":
            blocks.append({**event["content_block"], "json": ""})
        for name, field in (
            ("text", "text"),
            ("thinking", "thinking"),
            ("signature", "signature"),
            ("partial_json", "json"),
        ):
            if name in event.get("delta", {}):
                blocks[-1][field] = blocks[-1].get(field, "") + event["delta"][name]
    for block in blocks:
        written = block.pop("json")
        if block["type"] == "tool_use":
            block["input"] = json.loads(written or "{}")
    return {"content": blocks}


def test_ids_that_are_counters_are_told_apart_by_what_was_called() -> None:
    def marks(id: str, path: str) -> list[str]:
        call = ToolCallPart(id=id, name="read", arguments=json.dumps({"path": path, "n": 1}))
        return marks_of(Message(role="assistant", parts=(call,)))

    for counter in ("call_0", "functions.read:1", "m00003000"):
        assert marks(counter, "a") != marks(counter, "b")
    for chance in ("toolu_01A09q90qw90lq917835lq9", "call_kF9zX2Lm8QwErTy1", "chatcmpl-tool-5d1a3c0f6b7e4a1c"):
        assert marks(chance, "a") == marks(chance, "b") == [f"call:{chance}"]
