"""Noticing that work goes round in circles: a pure watch over tool calls, for `/goal` and for the cadence `signal`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from agent.tools.base import Change
from agent.text.numbers import plural

Kind = Literal["same_result", "edit_redone", "same_error"]

ERRORS = 3
"""So many times the same error is no longer an attempt."""
REMEMBERED = 400
"""Calls that are looked back on; a session of days must not grow the watch."""
_WORDS: dict[Kind, str] = {
    "same_result": "the same call came to the same result",
    "edit_redone": "an edit was undone and made again",
    "same_error": "the same error came again and again",
}


class Stuck(NamedTuple):
    """One sign of going in circles. `times`: how often it has happened by now; `words` is for people."""

    kind: Kind
    times: int
    words: str


class Watch:
    """Looks at each tool call as it ends. One for a turn, or for as long as circles are to be noticed across.

    Texts are kept as hashes alone: what passed through a long session stays out of memory.
    """

    def __init__(self) -> None:
        self._results: dict[tuple[str, int], tuple[int, int]] = {}
        self._errors: dict[tuple[str, int], int] = {}
        self._edits: dict[str, list[tuple[int, int]]] = {}

    def saw(
        self, name: str, arguments: str, text: str, *, is_error: bool = False, change: Change | None = None
    ) -> Stuck | None:
        """Take in a call: `arguments` as the model wrote them, `text` its result, `change` what it made of a file. Returns the gravest sign
        that it gives, if any."""
        times = self._same_result(name, arguments, text)
        redone = 0 if is_error or change is None else self._redone(change)
        failed = self._same_error(name, text) if is_error else 0
        if redone:
            return _sign("edit_redone", redone + 1, name)
        if failed and failed % ERRORS == 0:
            return _sign("same_error", failed, name)
        return _sign("same_result", times, name) if times > 1 else None

    def _same_result(self, name: str, arguments: str, text: str) -> int:
        """How often in a row this very call came to this very result."""
        key, result = (name, hash(arguments)), hash(text)
        before, times = self._results.pop(key, (result, 0))
        times = times + 1 if before == result else 1
        self._results[key] = (result, times)
        if len(self._results) > REMEMBERED:
            del self._results[next(iter(self._results))]
        return times

    def _same_error(self, name: str, text: str) -> int:
        """How often this tool failed like this, numbers (lines, times, ports) aside."""
        key = (name, hash(re.sub(r"\d+", "#", text[:2_000])))
        self._errors[key] = self._errors.get(key, 0) + 1
        if len(self._errors) > REMEMBERED:
            del self._errors[next(iter(self._errors))]
        return self._errors[key]

    def _redone(self, change: Change) -> int:
        """How often a change of a file was made again after it had been taken back."""
        path, after = change.path, hash(change.after)
        made = self._edits.setdefault(path, [])
        # Where a whole file was written, it came from whatever was written before.
        last = made[-1][1] if made else 0
        before = last if change.before is None else hash(change.before)
        redone = sum(
            earlier == (before, after) and (after, before) in made[at + 1 :] for at, earlier in enumerate(made)
        )
        made.append((before, after))
        del made[:-REMEMBERED]
        if len(self._edits) > REMEMBERED:
            del self._edits[next(iter(self._edits))]
        return redone


def _sign(kind: Kind, times: int, name: str) -> Stuck:
    return Stuck(kind, times, f"{_WORDS[kind]} ({name}, {plural(times, 'time')})")
