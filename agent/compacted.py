"""What a compaction makes of a path of messages: pure, and the same each time, so that what is sent stays the same to the byte."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agent.llm.messages import Message

Compaction = tuple["tuple[Message, ...]", "str | None"]
"""The user's words that it repeats, and the entry from which on messages are kept as they are (None: none of them)."""


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
