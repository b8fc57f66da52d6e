"""From a path of a session's tree to what is sent: pure, and the same each time, so that it stays the same to the byte."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agent.llm.messages import Message

Compaction = tuple["tuple[Message, ...]", "str | None"]
"""The user's words that it repeats, and the entry from which on messages are kept as they are (None: none of them)."""


def in_order(path: list[str], messages: Mapping[str, Message]) -> list[str]:
    """The path with the results of a reply's calls in the order of the calls: they were written as they came, so that none could be lost."""
    asked: Message | None = None
    at, count = 0, len(path)
    while at < count:
        message = messages[path[at]]
        at += 1
        if message.role != "tool":
            asked = message
            continue
        start = at - 1
        while at < count and messages[path[at]].role == "tool":
            at += 1
        if at - start > 1:
            places = {call.id: place for place, call in enumerate(asked.tool_calls if asked else ())}
            path[start:at] = sorted(path[start:at], key=partial(_place, messages, places))
    return path


def steps(
    path: Sequence[str], messages: Mapping[str, Message], compactions: Mapping[str, Compaction]
) -> tuple[tuple[str | None, Message], ...]:
    """The messages that are sent, each with its entry (None for the user's words that are repeated).

    The last compaction on the path decides: the system prompt, the words, its summary, what it keeps, and what came after it. Where
    the entry that it keeps from was lost to a damaged line, nothing before it is kept: the summary holds it.
    """
    at = next((at for at in range(len(path) - 1, -1, -1) if path[at] in compactions), None)
    if at is None:
        return tuple((entry, messages[entry]) for entry in path)
    words, keep_from = compactions[path[at]]
    opening = next((number for number in range(at) if messages[path[number]].role != "system"), at)
    start = path.index(keep_from) if keep_from in path[opening:at] else at
    kept = [entry for entry in path[start:at] if entry not in compactions]
    rest = [path[at], *kept, *path[at + 1 :]]
    return (
        *((entry, messages[entry]) for entry in path[:opening]),
        *((None, message) for message in words),
        *((entry, messages[entry]) for entry in rest),
    )


def behind_kept(
    chain: Sequence[str], found: Sequence[tuple[str | None, Message]], compactions: Mapping[str, Compaction]
) -> dict[str, int]:
    """For the last compaction of a path: the index (in `steps`) of the last message that it kept, or of its own summary.

    What was given directly after it stands behind that: the kept messages come after the summary.
    """
    at = next((at for at in range(len(chain) - 1, -1, -1) if chain[at] in compactions), None)
    if at is None:
        return {}
    later = len(chain) - 1 - at
    return {chain[at]: len(found) - 1 - later}


def _place(messages: Mapping[str, Message], places: Mapping[str, int], entry: str) -> int:
    return places.get(messages[entry].tool_call_id or "", len(places))
