"""What several faces say in the same words: sums, times, the one line that is left of a counsel."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from agent.events import Compacted, Cost, SideFinished
from agent.llm.money import NANO, show_usd

REPLAYED = "replayed"
"""The trigger of a record that says an earlier counsel's guidance went out again."""


def first_line(text: str, limit: int = 100) -> str:
    """Somebody's words on one line, cut with an ellipsis."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def said(event: SideFinished) -> str:
    """What side work came back with, as far as it is for reading: an answer that is JSON is for the program, which shows it as an analysis."""
    return "" if event.text.lstrip().startswith(("{", "[{")) else event.text


def money(cost: Cost) -> str:
    """US dollars: `$0.0031`, `≥ $1.25` where a part is unknown; empty where all is."""
    if cost.usd is None or not math.isfinite(cost.usd):
        return ""
    return ("≥ " if cost.lower_bound else "") + show_usd(round(cost.usd * NANO))


def compacted(event: Compacted) -> str:
    """What a compaction did, on a line."""
    by = f" by {event.model}" if event.model else " without a model"
    figures = f"{count(event.before_tokens)} → {count(event.after_tokens)} tokens, about"
    return f"made room: {figures}; {plural(event.messages, 'message')} summed up{by}"


def count(number: int) -> str:
    """A number of tokens: `812`, `12.3k`, `1.2M`."""
    if number < 1000:
        return str(number)
    if number < 1_000_000:
        return f"{number / 1e3:.1f}k" if number < 99_950 else f"{number / 1e3:.0f}k"
    return f"{number / 1e6:.1f}M"


def plural(number: int, word: str) -> str:
    """`1 point`, `2 points`."""
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def counsel(data: Mapping[str, Any]) -> str:
    """A counsel's record as one line: who answered, what came of it, what it cost, how long it took."""
    analysis = data.get("analysis")
    answered, asked = data.get("answered", 0), data.get("asked", "?")
    if data.get("trigger") == REPLAYED:
        return f"counsel: the guidance from {plural(data.get('age', 0), 'call')} ago, again"
    if not answered:
        parts = ["nobody on the panel answered; the main model goes on alone"]
    elif isinstance(analysis, Mapping):
        points = len(analysis.get("consensus") or ())
        clashes = len(analysis.get("contradictions") or ())
        parts = [f"{answered} of {asked} agreed on {plural(points, 'point')}", plural(clashes, "contradiction")]
    else:
        parts = [f"{answered} of {asked} answered"]
    failed = data.get("failed") or ()
    if failed:
        parts.append("failed: " + ", ".join(f"{one.get('slot', '?')} ({one.get('kind', '?')})" for one in failed))
    cost = data.get("cost") or {}
    if amount := money(Cost(usd=cost.get("usd"), lower_bound=bool(cost.get("lower_bound")))):
        parts.append(amount)
    parts.append(f"{data.get('duration_s', 0.0):.1f} s")
    return "counsel: " + ", ".join(parts)
