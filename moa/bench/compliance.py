"""Whether advice was followed, beside what the main model does without it: who edits the right file anyway follows no advice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from moa.counsel.in_force import FOLLOW_CALLS
from moa.counsel.points import followed

if TYPE_CHECKING:
    from moa.bench.arms import Result


def beside(results: Sequence[Result], bare: Mapping[str, Result]) -> dict[str, int] | None:
    """Of the counsels of which it can be told whether they were followed: how many there are (`told`), how many were (`followed`), and how many
    the main model would have followed at the same calls without having seen them (`anyway`: the base arm did, on the same item). None where
    there are none.
    """
    pairs = [(result, bare[result.item]) for result in results if result.given and result.item in bare]
    tools = frozenset(str(name) for pair in pairs for each in pair for _reply, name, _arguments in each.made)
    found = {"told": 0, "followed": 0, "anyway": 0}
    for result, without in pairs:
        if not (result.made or without.made):
            continue
        for given in result.given:
            first = int(given["iteration"])
            own = followed(given["steps"], _made(result, first), tools)
            if own is None:
                continue
            found["told"] += 1
            found["followed"] += own
            found["anyway"] += followed(given["steps"], _made(without, first), tools) is True
    return found if found["told"] else None


def _made(result: Result, first: int) -> list[tuple[Any, Any]]:
    """The calls of tools in the replies in which advice before reply number `first` is looked for."""
    replies = range(first, first + FOLLOW_CALLS)
    return [(name, arguments) for reply, name, arguments in result.made if reply in replies]
