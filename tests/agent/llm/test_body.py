"""What was made of an old message is used again, and nobody can tell from the bytes."""

from __future__ import annotations

import gc
import json
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.llm import identity_cache
from agent.llm.binding import binding
from agent.llm.body import Piece, encode_json
from agent.llm.dialects.base import Dialect
from agent.llm.dialects.emulate import emulate
from agent.llm.dialects.registry import DIALECTS, dialect_named
from agent.llm.messages import ImagePart, Message, ReasoningPart, TextPart, assistant, system, tool_result, user
from agent.llm.messages import ToolCallPart as Call
from agent.llm.models.endpoint import WELL_KNOWN
from agent.llm.request import Request
from agent.llm.tokens import estimate_message, prompt_bound
from agent.session.sent import Guidance, with_guidance
from tests.agent.llm.test_prefix import CHAT_QUIRKS, MODEL, TOOLS, fast, histories

ENDPOINT = WELL_KNOWN["openrouter"]
QUIRKS = (*CHAT_QUIRKS, "history_needs_tools", "short_call_ids", "no_prefill", "manual_thinking")
SIGNED = {"reasoning_details": [{"type": "reasoning.text", "text": "hm", "signature": "s"}]}

given_after = st.lists(st.tuples(st.integers(0, 20), st.sampled_from(["result", "joined", "message"])), max_size=3)


class Conversation:
    """Histories as a session has them: the same objects from step to step, replies bound to what they were made on."""

    def __init__(self, dialect: Dialect, quirks: frozenset[str], guidance: list[tuple[int, str]]) -> None:
        self._dialect, self._quirks, self._bound = dialect, quirks, dict[int, Message]()
        self._guidance = [
            Guidance(entry=f"g{n}", after=str(at), place=n, plugin="p", turn="", iteration=0, text=f"do {n}", form=form)  # type: ignore[arg-type]
            for n, (at, form) in enumerate(guidance)
        ]

    def request(self, messages: tuple[Message, ...], **options: Any) -> Request:
        for at, message in enumerate(messages):
            if at not in self._bound:
                self._bound[at] = self._answered(at, message)
        return self._sent(len(messages), **options)

    def _sent(self, count: int, **options: Any) -> Request:
        steps = [(str(at), self._bound[at]) for at in range(count)]
        placed = with_guidance(steps, self._guidance, {})
        return Request(MODEL, tuple(message for _, message in placed), **options)

    def _answered(self, at: int, message: Message) -> Message:
        if message.role != "assistant" or message.origin != str(MODEL) or not at:
            return message
        items = self._dialect.items(self._dialect.compose(self._sent(at, tools=TOOLS), ENDPOINT, self._quirks))
        return replace(message, binding=binding(items, message, ENDPOINT, "author/model", bare=at == 5))


def spoil(value: Any) -> None:
    """Ruin all of a body that can be ruined."""
    for each in list(value.values() if isinstance(value, dict) else value):
        if isinstance(each, dict | list):
            spoil(each)
    value.clear()


@fast
@given(
    st.sampled_from(sorted(DIALECTS)),
    histories(),
    st.sets(st.sampled_from(QUIRKS)),
    st.tuples(st.integers(0, 9), st.sampled_from(QUIRKS)),
    given_after,
    st.sampled_from([None, "now this"]),
    st.booleans(),
    st.booleans(),
)
def test_kept_and_new_are_the_same_bytes(
    name: str,
    points: list[tuple[Message, ...]],
    quirks: set[str],
    learned: tuple[int, str],
    guidance: list[tuple[int, str]],
    tail: str | None,
    tools: bool,
    emulated: bool,
) -> None:
    dialect = dialect_named(name)
    talk = Conversation(dialect, frozenset(quirks), guidance)
    for number, point in enumerate(points):
        options: dict[str, Any] = {"tools": TOOLS if tools else (), "tail": tail, "shared": number}
        request = talk.request(point, thoughts=number != 3, **options)
        anew = deepcopy(request)  # other objects: nothing was made of them before
        assert prompt_bound(request) == prompt_bound(anew)
        if emulated:
            request, anew = emulate(request), emulate(anew)
        known = frozenset(quirks | ({learned[1]} if number >= learned[0] else set()))
        left: list[str] = []
        left_anew: list[str] = []
        body = dialect.compose(request, ENDPOINT, known, left)
        body_anew = dialect.compose(anew, ENDPOINT, known, left_anew)
        assert (sent := encode_json(body)) == encode_json(body_anew)
        assert left == left_anew
        reply = Message(role="assistant", origin=str(MODEL), parts=(TextPart(text="so"),), extra=SIGNED)
        bound = [binding(dialect.items(each), reply, ENDPOINT, "m", bare=False) for each in (body, body_anew)]
        mine = dialect.encode(request, ENDPOINT, known)
        assert json.dumps(mine, ensure_ascii=False, separators=(",", ":")).encode() == sent
        assert bound == [binding(dialect.items(mine), reply, ENDPOINT, "m", bare=False)] * 2
        spoil(mine)
        assert encode_json(dialect.compose(request, ENDPOINT, known)) == sent


def items_of(dialect: Dialect, messages: list[Message], *quirks: str, rewrite: bool = False) -> list[Piece]:
    request = Request(MODEL, tuple(messages), tools=TOOLS)
    composed = dialect.compose(emulate(request) if rewrite else request, ENDPOINT, frozenset(quirks))
    return [item for item in dialect.items(composed) if isinstance(item, Piece)]


CALL = Call(id="a call:1", name="read", arguments='{"path": "a"}')
OTHER = Call(id="c2", name="read", arguments='{"path": "b"}')
THOUGHT = ReasoningPart(text="hm", extra={"type": "thinking", "signature": "s"})
HISTORY = [
    system("S"),
    user("go"),
    assistant("I look", CALL, OTHER, origin=str(MODEL)),
    tool_result(CALL, "found"),
    tool_result(OTHER, "found, too"),
    system("Mind the gap."),
    Message(role="user", parts=(TextPart(text="see"), ImagePart(media_type="image/png", data="aGk="))),
    Message(role="assistant", parts=(THOUGHT, TextPart(text="done")), origin=str(MODEL), binding="an old one"),
    user("and now"),
    user("and now"),
]


@pytest.mark.parametrize(
    ("name", "quirks"),
    [
        ("chat", ()),
        ("chat", ("short_call_ids", "strict_alternation")),
        ("chat", ("no_system_role", "reasoning_object")),
        ("anthropic", ()),
        ("responses", ()),
        ("responses", ("no_images",)),
        ("chat", ("emulated",)),
    ],
)
def test_what_was_made_of_an_old_message_is_used_again(name: str, quirks: tuple[str, ...]) -> None:
    identity_cache.clear()
    dialect, rewrite = dialect_named(name), "emulated" in quirks
    before = items_of(dialect, HISTORY, *quirks, rewrite=rewrite)
    after = items_of(dialect, [*HISTORY, assistant("yes"), user("more")], *quirks, rewrite=rewrite)
    marked = [at for at, item in enumerate(before) if b"cache_control" in (item.json or b"")]
    other = [at for at, item in enumerate(before) if item is not after[at] and at not in marked]
    assert other == ([0] if rewrite else [])  # the tools are described in the first, with each request anew
    assert len(before) > 7 - 2 * rewrite


def test_what_was_made_goes_with_its_message_and_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    identity_cache.clear()
    dialect = dialect_named("chat")
    messages = [user(f"{n} " + "word " * 1_000) for n in range(100)]
    estimates = [estimate_message(message) for message in messages]
    items_of(dialect, messages)
    assert 1_000_000 < identity_cache.size() < 1_300_000
    assert len(items_of(dialect, messages[:50])) == 50
    del messages[50:]
    gc.collect()
    assert 500_000 < identity_cache.size() < 650_000

    monkeypatch.setattr(identity_cache, "MOST_BYTES", 100_000)
    identity_cache.clear()
    items = items_of(dialect, messages)
    assert identity_cache.size() <= 100_000
    assert [item.value["content"] for item in items] == [message.text for message in messages]
    assert [estimate_message(message) for message in messages] == estimates[:50]
    for number in range(200):
        items_of(dialect, messages[:1], str(number))
    assert identity_cache.size() <= 100_000
    del messages, items
    gc.collect()
    assert identity_cache.size() == 0
