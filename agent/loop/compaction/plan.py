"""What of a conversation is summed up, which of the user's words are repeated, and from where on it stays as it is. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from agent.llm.messages import ImagePart, TextPart
from agent.llm.tokens import estimate_message, estimate_tokens

if TYPE_CHECKING:
    from agent.llm.messages import Message

    Step = tuple[str | None, Message]

# Parts of the conversation (without its system prompt), and the most tokens that each may have however large the window is.
TAIL, MOST_TAIL = 4, 40_000
WORDS, MOST_WORDS = 8, 12_000
SUMMARY, MOST_SUMMARY, LEAST_SUMMARY = 10, 3_000, 150
LEAST_WORDS = 40
"""Tokens: a message cut shorter than this says nothing."""


class Plan(NamedTuple):
    """`cut` is summed up in about `tokens` tokens; `words` are those of the user's that are repeated (bounded), `keep_from` is the
    entry of the first message that stays (None: none does)."""

    cut: tuple[Message, ...]
    words: tuple[Message, ...]
    keep_from: str | None
    tokens: int


def plan(steps: Sequence[Step], *, least_gain: int = 0, dropped: int = 0) -> Plan | None:
    """How to compact these steps; None where that would free less than `least_gain` tokens, or less than a tenth of them.

    `dropped`: tokens between the steps that go in any case.
    """
    opening = next((number for number, (_, message) in enumerate(steps) if message.role != "system"), len(steps))
    body = steps[opening:]
    sizes = [estimate_message(message) for _, message in body]
    total = sum(sizes)
    start = _start(body, sizes, total)
    cut = tuple(message for _, message in body[:start])
    words = _words([message for message in cut if is_typed(message)], min(total // WORDS, MOST_WORDS))
    summary = max(LEAST_SUMMARY, min(total // SUMMARY, MOST_SUMMARY))
    gain = dropped + sum(sizes[:start]) - sum(map(estimate_message, words)) - summary
    if gain < max(least_gain, total // 10, 1):
        return None
    return Plan(cut, words, body[start][0] if start < len(body) else None, summary)


def is_typed(message: Message) -> bool:
    """The user's own words."""
    return message.role == "user" and message.synthetic is None


def _start(body: Sequence[Step], sizes: Sequence[int], total: int) -> int:
    """Where what stays begins: as early as its share allows, and never between a tool call and its result.

    What the user said last stays in any case, since nobody has answered it; so does the last step, unless it is half of everything.
    """

    def may_begin(number: int) -> bool:
        entry, message = body[number]
        return entry is not None and message.role != "tool" and message.synthetic != "summary"

    start = len(body)
    while start and may_begin(start - 1) and body[start - 1][1].role == "user":
        start -= 1
    last = start - 1
    while last >= 0 and body[last][1].role == "tool":
        last -= 1
    if last >= 0 and may_begin(last) and sum(sizes[last:start]) <= total // 2:
        start = last
    room = min(total // TAIL, MOST_TAIL) - sum(sizes[start:])
    for number in range(start - 1, -1, -1):
        entry, message = body[number]
        room -= sizes[number]
        if room < 0 or entry is None or message.synthetic == "summary":
            break
        if may_begin(number):
            start = number
    return start


def _words(messages: Sequence[Message], tokens: int) -> tuple[Message, ...]:
    """The user's messages within so many tokens: the first (the task) and the newest first, long ones cut in the middle."""
    kept: dict[int, Message] = {}
    order = [0, *range(len(messages) - 1, 0, -1)] if messages else []
    for number in order:
        most = tokens // 2 if len(order) > 1 else tokens
        if most < LEAST_WORDS:
            break
        message = _shortened(messages[number], most)
        if message is not None:
            kept[number] = message
            tokens -= estimate_message(message)
    return tuple(kept[number] for number in sorted(kept))


def _shortened(message: Message, tokens: int) -> Message | None:
    images = sum(isinstance(part, ImagePart) for part in message.parts)
    if not images and estimate_message(message) <= tokens:
        return message
    text = shorten(message.text, tokens)
    if images:
        text = f"{text}\n[{images} image(s), no longer sent]".lstrip("\n")
    return replace(message, parts=(TextPart(text=text),)) if text else None


def shorten(text: str, tokens: int) -> str:
    """The text in about so many tokens: its head and its tail, and how much is left out between them."""
    found = estimate_tokens(text)
    if found <= tokens:
        return text
    return head_and_tail(text, max(40, len(text) * tokens // found))


def head_and_tail(text: str, limit: int) -> str:
    """The text in about `limit` characters. The end of an output matters as much as its beginning."""
    if len(text) <= limit:
        return text
    head = limit * 2 // 3
    tail = limit - head
    return f"{text[:head]} [… {len(text) - head - tail:,} characters left out …] {text[len(text) - tail :]}"
