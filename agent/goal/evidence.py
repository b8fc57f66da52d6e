"""What a turn has really done, gathered as it happens: the record that a judge sees beside the reply."""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING, Literal, NamedTuple

from agent.text.numbers import plural

if TYPE_CHECKING:
    from agent.llm.messages import ToolCallPart
    from agent.tools.base import ToolResult

MOST_CALLS = 40
MOST_CHARS = 12_000
"""Of the record as the judge sees it: the newest calls that fit."""
ARGUMENTS, RESULT = 300, 500
REPLY = 4_000
"""Characters of a reply's end."""

Claim = Literal["done", "blocked", "wait"]
_MARKER = re.compile(r"(?i)[\s>*_`#-]*GOAL\s+(DONE|BLOCKED|WAIT)\b[\s*_`]*[:.\u2013\u2014-]?\s*(.*)")


class Claimed(NamedTuple):
    """The agent's own word on the goal: one input of the verdict, and never the verdict."""

    kind: Claim
    about: str


def claimed(reply: str) -> Claimed | None:
    """The marker in a reply's last line that says anything; a marker that is only talked about, further up, is none."""
    last = next((line for line in reversed(reply.splitlines()) if line.strip(" \t`*_")), "")
    found = _MARKER.fullmatch(last.strip())
    if found is None:
        return None
    return Claimed(found[1].lower(), found[2].strip(" *_`"))  # type: ignore[arg-type]


class Evidence:
    """Tool calls since the last verdict, over as many turns as there were."""

    def __init__(self) -> None:
        self._calls: deque[str] = deque(maxlen=MOST_CALLS)
        self._count = 0

    def add(self, call: ToolCallPart, result: ToolResult) -> None:
        """A call that has ended."""
        self._count += 1
        arguments = _cut(call.arguments, ARGUMENTS)
        lines = [f"{self._count}. {call.name} {arguments} -> {'ERROR' if result.is_error else 'ok'}"]
        if result.diff:
            lines.append(f"   changed: {_changed(result.diff)}")
        tail = result.text.strip()[-RESULT:]
        if tail:
            lines += [f"   {line}" for line in ("…" + tail if len(result.text.strip()) > RESULT else tail).splitlines()]
        self._calls.append("\n".join(lines))

    def clear(self) -> None:
        """A verdict has been given on all of it."""
        self._calls.clear()
        self._count = 0

    def __str__(self) -> str:
        kept: list[str] = []
        room = MOST_CHARS
        for call in reversed(self._calls):
            room -= len(call)
            if room < 0:
                break
            kept.append(call)
        left_out = self._count - len(kept)
        head = [f"({left_out} earlier calls are left out)"] if left_out else []
        return "\n".join((*head, *reversed(kept)))


def end_of(reply: str) -> str:
    """The end of a reply, and how much of it is not shown."""
    text = reply.strip()
    return text if len(text) <= REPLY else f"({len(text) - REPLY} characters before this)\n…{text[-REPLY:]}"


def _changed(diff: str) -> str:
    """The files that a unified diff touches, and how many lines."""
    names = dict.fromkeys(re.findall(r"(?m)^\+\+\+ (?:b/)?(\S+)", diff))
    plus = len(re.findall(r"(?m)^\+(?!\+\+)", diff))
    minus = len(re.findall(r"(?m)^-(?!--)", diff))
    return f"{', '.join(names) or 'a file'} (+{plus} -{plural(minus, 'line')})"


def _cut(text: str, most: int) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= most else f"{flat[:most]}…"
