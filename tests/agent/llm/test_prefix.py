"""What was sent once is sent again byte for byte: the invariant that a provider's prompt cache, and so the bill, depends on.

The histories here only grow. What makes one begin anew is named: an undo, another model or other tools, and a compaction
(tests/agent/loop/test_compaction.py holds the same invariant on both sides of one).
"""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.llm.dialects.anthropic import AnthropicDialect
from agent.llm.dialects.base import Dialect
from agent.llm.dialects.chat import TAIL_MARK, ChatDialect
from agent.llm.dialects.emulate import emulate
from agent.llm.dialects.responses import ResponsesDialect
from agent.llm.messages import ImagePart, Message, ReasoningPart, TextPart, ToolCallPart, system, user
from agent.llm.models.endpoint import WELL_KNOWN
from agent.llm.request import ModelRef, Request, ToolSpec

MODEL = ModelRef("there", "author/model")
TAIL = "\x00 what the panel thinks \x00"
TOOLS = (ToolSpec("read", "Read a file.", {"type": "object", "properties": {"path": {"type": "string"}}}),)

texts = st.sampled_from(["", " ", "yes", "a\u2028b", 'quote " and \\', "ünïcode 漢字", "line\nline"])
images = st.just(ImagePart(media_type="image/png", data="aGk="))
arguments = st.sampled_from(['{"path": "a"}', '{ "path":"a" }', '{"path": "cut', "[]", ""])
origins = st.sampled_from([str(MODEL), "other:model", None])


@st.composite
def answers(draw: st.DrawFn, serial: int, calls: int) -> Message:
    """An assistant message: reasoning with or without a signature, text, calls; of this model or another."""
    reasoning = draw(
        st.sampled_from(
            [
                (),
                (ReasoningPart(text="hm"),),
                (ReasoningPart(text="hm", extra={"type": "thinking", "signature": "sig"}),),
                (ReasoningPart(text="", extra={"type": "redacted_thinking", "data": "xx"}),),
                (ReasoningPart(text="", extra={"type": "reasoning", "id": "rs", "encrypted_content": "xx"}),),
            ]
        )
    )
    text = draw(texts)
    return Message(
        role="assistant",
        parts=(
            *reasoning,
            *((TextPart(text=text),) if text else ()),
            *(ToolCallPart(id=f"c{serial}_{n}", name="read", arguments=draw(arguments)) for n in range(calls)),
        ),
        origin=draw(origins),
        extra=draw(
            st.sampled_from(
                [
                    None,
                    {"reasoning_details": [{"type": "reasoning.text", "text": "hm"}]},
                    {"responses": [{"id": "msg_1", "phase": "commentary"}]},
                ]
            )
        ),
        incomplete=draw(st.booleans()),
    )


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[Message, ...]]:
    """Growing histories, as a loop sends them: after whole rounds, with interruptions, stray results and repeated roles."""
    messages: list[Message] = [system("You are an agent.")] if draw(st.booleans()) else []
    points: list[tuple[Message, ...]] = []
    kinds = st.sampled_from(
        ["user", "picture", "answer", "round", "round", "round", "cut", "stray", "notice", "system"]
    )
    for serial, kind in enumerate(draw(st.lists(kinds, min_size=2, max_size=9))):
        if kind == "user":
            messages.append(user(draw(texts)))
        elif kind == "picture":
            messages.append(Message(role="user", parts=(TextPart(text="see"), draw(images))))
        elif kind == "notice":
            messages.append(user("The last answer was interrupted.", synthetic="interrupted"))
        elif kind == "system":
            messages.append(system("Mind the gap."))
        elif kind == "stray":
            messages.append(Message(role="tool", parts=(TextPart(text="late"),), tool_call_id="gone", tool_name="read"))
        elif kind == "answer":
            messages.append(draw(answers(serial, 0)))
        else:
            count = draw(st.integers(1, 3))
            messages.append(draw(answers(serial, count)))
            for n in range(count if kind == "round" else draw(st.integers(0, count - 1))):
                result = Message(
                    role="tool",
                    parts=draw(
                        st.sampled_from(
                            [
                                (TextPart(text="found"),),
                                (),
                                (TextPart(text="pic"), ImagePart(media_type="image/png", data="aGk=")),
                            ]
                        )
                    ),
                    tool_call_id=f"c{serial}_{n}",
                    tool_name="read",
                    is_error=draw(st.booleans()),
                )
                messages.append(result)
        # Nobody sends a system text alone.
        if messages[-1].role != "system" or points:
            points.append(tuple(messages))
    return points or [(user("hi"),)]


MARKS = ("cache_control", "prompt_cache_breakpoint")


def without_breakpoints(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_breakpoints(inner) for key, inner in value.items() if key not in MARKS}
    return [without_breakpoints(inner) for inner in value] if isinstance(value, list) else value


def without_tail(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The messages before the tail, which must be the very last thing of all and stand under no breakpoint."""
    *stable, last = messages
    content = last["content"]
    if isinstance(content, str):
        assert content.endswith(TAIL)
        rest: Any = content.removesuffix(TAIL).removesuffix(TAIL_MARK)
    else:
        assert content[-1]["text"].endswith(TAIL)
        assert not set(MARKS) & set(content[-1])
        rest = content[:-1]
    assert "\x00" not in str(stable) and "\x00" not in str(rest)
    return [*stable, {**last, "content": rest}] if rest else stable


def items(dialect: Dialect, request: Request, quirks: frozenset[str]) -> list[str]:
    body = dialect.encode(request, WELL_KNOWN["openrouter"], quirks)
    stable = without_tail(body.get("messages") or body["input"])
    return [json.dumps(item, ensure_ascii=False) for item in (body.get("tools"), body.get("system"), *stable)]


def marked(items: list[str]) -> list[int]:
    """Where breakpoints are, the system text's left out: it is always there."""
    return [index for index, item in enumerate(items[2:]) if any(mark in item for mark in MARKS)]


def assert_prefixes(dialect: Dialect, requests: list[Request], quirks: frozenset[str]) -> None:
    before: list[str] = []
    newest = -1
    for request in requests:
        sent = items(dialect, request, quirks)
        now = [json.dumps(without_breakpoints(json.loads(item)), ensure_ascii=False) for item in sent]
        assert now[: len(before)] == before
        marks = marked(sent)
        # With the system text's, or OpenAI's automatic one, that makes four; the newest is at or behind the newest of the last request.
        assert len(marks) <= (4 if isinstance(dialect, ChatDialect) and "cache_control" in quirks else 3)
        assert not marks or marks[-1] >= newest
        before, newest = now, max([newest, *marks])


def requests(points: list[tuple[Message, ...]], tools: bool, shared: int = 0) -> list[Request]:
    return [Request(MODEL, point, tools=TOOLS if tools else (), tail=TAIL, shared=shared) for point in points]


fast = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
CHAT_QUIRKS = (
    "strict_alternation",
    "cache_control",
    "cache_breakpoint",
    "no_system_role",
    "reasoning_content_back",
    "reasoning_object",
    "no_images",
)


@fast
@given(histories(), st.sets(st.sampled_from(CHAT_QUIRKS)), st.booleans(), st.integers(0, 4))
def test_chat_prefix(points: list[tuple[Message, ...]], quirks: set[str], tools: bool, shared: int) -> None:
    assert_prefixes(ChatDialect(), requests(points, tools, shared), frozenset(quirks | {"history_needs_tools"}))


@fast
@given(histories(), st.sets(st.sampled_from(("no_images", "history_needs_tools"))), st.booleans(), st.integers(0, 4))
def test_anthropic_prefix(points: list[tuple[Message, ...]], quirks: set[str], tools: bool, shared: int) -> None:
    assert_prefixes(AnthropicDialect(), requests(points, tools, shared), frozenset(quirks))


RESPONSES_QUIRKS = ("cache_breakpoint", "no_images", "history_needs_tools")


@fast
@given(histories(), st.sets(st.sampled_from(RESPONSES_QUIRKS)), st.booleans(), st.integers(0, 4))
def test_responses_prefix(points: list[tuple[Message, ...]], quirks: set[str], tools: bool, shared: int) -> None:
    assert_prefixes(ResponsesDialect(), requests(points, tools, shared), frozenset(quirks))


@fast
@given(histories())
def test_responses_calls_have_their_results(points: list[tuple[Message, ...]]) -> None:
    waiting: list[str] = []
    for item in ResponsesDialect().encode(requests(points, True)[-1], WELL_KNOWN["openai"], frozenset())["input"]:
        if item.get("type") == "function_call_output":
            waiting.remove(item["call_id"])
        elif item.get("type") == "function_call":
            assert isinstance(json.loads(item["arguments"]), dict)
            waiting.append(item["call_id"])
        else:
            assert not waiting or item.get("type") == "reasoning" or item.get("role") == "assistant"
    assert not waiting


@fast
@given(histories(), st.booleans(), st.booleans())
def test_emulated_prefix(points: list[tuple[Message, ...]], tools: bool, strict: bool) -> None:
    quirks = frozenset({"strict_alternation"} if strict else ())
    assert_prefixes(ChatDialect(), [emulate(request) for request in requests(points, tools)], quirks)


@fast
@given(histories(), st.booleans())
def test_chat_calls_have_their_results(points: list[tuple[Message, ...]], strict: bool) -> None:
    quirks = frozenset({"strict_alternation"} if strict else ())
    messages = ChatDialect().encode(requests(points, True)[-1], WELL_KNOWN["openai"], quirks)["messages"]
    waiting: list[str] = []
    for message in messages:
        if message["role"] == "tool":
            assert message["tool_call_id"] in waiting
            waiting.remove(message["tool_call_id"])
            continue
        assert not waiting
        waiting = [call["id"] for call in message.get("tool_calls", ())]
        assert all(
            isinstance(json.loads(call["function"]["arguments"]), dict) for call in message.get("tool_calls", ())
        )
    assert not waiting
    if strict:
        roles = [message["role"] for message in messages if message["role"] != "system"]
        assert roles[0] == "user"
        assert not {("user", "user"), ("tool", "user"), ("assistant", "assistant")} & set(pairwise(roles))


@fast
@given(histories())
def test_anthropic_results_come_right_after_their_calls(points: list[tuple[Message, ...]]) -> None:
    messages = AnthropicDialect().encode(requests(points, True)[-1], WELL_KNOWN["anthropic"], frozenset())["messages"]
    assert messages[-1]["role"] == "user"
    for message, following in pairwise(messages):
        uses = [block["id"] for block in message["content"] if block["type"] == "tool_use"]
        results = [block["tool_use_id"] for block in following["content"] if block["type"] == "tool_result"]
        assert uses == results
        assert all(block.get("text", "x").strip() for block in message["content"])
