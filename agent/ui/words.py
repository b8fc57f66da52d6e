"""What several faces say in the same words: sums, times, signs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from agent.events import Compacted, Cost, SideFinished, TurnFinished
from agent.llm.money import show_cost
from agent.text.numbers import count, plural, span

if TYPE_CHECKING:
    from agent.views import Mark

SIGNS: Mapping[Mark, str] = {
    "agreed": "✓",
    "disputed": "≠",
    "alone": "◆",
    "against": "✗",
    "verified": "✓",
    "unverified": "?",
    "answered": "✓",
    "silent": "○",
    "late": "◷",
    "cut off": "…",
    "stopped": "■",
    "failed": "✗",
    "working": "•",
}
"""A column wide each."""
MEANING: Mapping[Mark, str] = {
    "agreed": "holds it, by a quote that was found",
    "alone": "raised it alone, by a quote that was found",
    "disputed": "which side",
    "against": "is against it",
    "unverified": "named by the aggregator, no quote of theirs found",
}
"""What the signs in a matrix say."""


def came_to(event: TurnFinished) -> str:
    """What a turn took, on one line. Tokens that nobody has told are not counted as none."""
    usage = event.usage
    known = usage.prompt or usage.completion or event.cost.usd is not None
    tokens = f"{count(usage.prompt)} + {count(usage.completion)} tokens" if known else ""
    parts = [plural(event.iterations, "step"), tokens, money(event.cost), span(event.duration_s, exact=True)]
    return ", ".join(part for part in parts if part)


def first_line(text: str, limit: int = 100) -> str:
    """Somebody's words on one line, cut with an ellipsis."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


_ENDED = re.compile(r"\[((?:exit code|ended by|timed out|job \d+ )[^\]]*)\]")
"""How the shell tool says, on a line of its own, that a command failed."""


def failure(text: str, limit: int = 200) -> str:
    """What a failed tool said, on one line: of a command how it ended and its last words, of anything else the first."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    at = next((at for at in range(len(lines) - 1, -1, -1) if _ENDED.fullmatch(lines[at])), None)
    if at is None:
        return first_line(lines[0], limit) if lines else ""
    found = _ENDED.fullmatch(lines[at])
    how = found[1] if found else ""
    last = next((line for line in reversed(lines[:at]) if line != "(no output)"), "")
    return first_line(f"{how}: {last}" if last else how, limit)


def said(event: SideFinished) -> str:
    """What side work came back with, as far as it is for reading."""
    return in_words(event.text)


def in_words(text: str) -> str:
    """A text, or nothing where it is JSON: that is for the program, which shows what it means."""
    return "" if text.lstrip().startswith(("{", "[{", "```json")) else text


def money(cost: Cost) -> str:
    """US dollars in a sentence: `$0.0031`, `≥ $1.25` where a part is unknown, `cost unknown` where all is; empty where nothing was spent."""
    if cost.usd is None and not cost.lower_bound:
        return ""
    said = show_cost(cost.usd, cost.lower_bound)
    return said if "$" in said else f"cost {said}"


def compacted(event: Compacted) -> str:
    """What a compaction did, on a line."""
    by = f" by {event.model}" if event.model else " without a model"
    figures = f"{count(event.before_tokens)} → {count(event.after_tokens)} tokens, about"
    return f"compacted: {figures}; {plural(event.messages, 'message')} summarized{by}"
