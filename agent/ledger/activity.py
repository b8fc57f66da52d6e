"""What the ledger says, for people and for programs: `moa activity` and `/activity`."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

from agent.errors import UsageError
from agent.ledger.rows import role_in_words
from agent.llm.money import show_usd
from agent.serialize import dumps
from agent.text.numbers import plural, span
from agent.views import TableView, TabsView

if TYPE_CHECKING:
    from agent.ledger.book import Ledger
    from agent.ledger.rows import CallRow, Grouping, Sum
    from agent.llm.money import Total
    from agent.llm.stream import Usage
    from agent.views import View

By = Literal["session", "model", "role", "day", "calls"]

_LATEST = 30
_UNITS = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


def parse_by(text: str) -> By:
    """A grouping by its name. Raises UsageError."""
    for by in get_args(By):
        if text == by:
            return by  # type: ignore[no-any-return]
    raise UsageError(f"activity can't be grouped by {text!r}", remedy="one of: " + ", ".join(get_args(By)))


def parse_since(text: str, *, now: float | None = None) -> float:
    """`90m`, `2h`, `3d`, `1w` (ago), `today`, `yesterday`, or a date (`2026-11-01`, local midnight) as Unix seconds.

    Raises UsageError for anything else.
    """
    now = time.time() if now is None else now
    word = text.strip().lower()
    if match := re.fullmatch(r"([0-9]{1,9})([mhdw])", word):
        return max(0.0, now - int(match[1]) * _UNITS[match[2]])
    if word in ("today", "yesterday"):
        day = time.localtime(now)
        return _midnight(day.tm_year, day.tm_mon, day.tm_mday - (word == "yesterday"))
    if match := re.fullmatch(r"([0-9]{4})-([0-9]{2})-([0-9]{2})", word):
        from datetime import date

        year, month, day_of_month = (int(part) for part in match.groups())
        try:
            date(year, month, day_of_month)
            return _midnight(year, month, day_of_month)
        except (ValueError, OverflowError):
            pass
    raise UsageError(
        f"{text!r} is not a time to count from",
        remedy="give an age (90m, 2h, 3d, 1w), a date (2026-11-01), today or yesterday",
    )


def _midnight(year: int, month: int, day: int) -> float:
    # mktime takes a day 0 as the last of the month before, and finds out itself whether summer time holds.
    return time.mktime((year, month, day, 0, 0, 0, 0, 0, -1))


def activity(ledger: Ledger, *, session: str | None = None, since: float | None = None, by: By | None = None) -> View:
    """The calls of a session, or of all, from a Unix time on: one table, or a tab for each grouping. Raises StateError."""
    everything = ledger.sums(session=session, since=since)[0]
    if by == "calls":
        return _call_table(ledger, session, since, everything)
    if by is not None:
        return _sum_table(by, ledger.sums(by, session=session, since=since), everything)
    groupings: tuple[Grouping, ...] = ("model", "role", "day") if session else ("model", "role", "session", "day")
    tabs: list[tuple[str, View]] = [
        (name, _sum_table(name, ledger.sums(name, session=session, since=since), everything)) for name in groupings
    ]
    return TabsView(tabs=(*tabs, ("calls", _call_table(ledger, session, since, everything, at_most=_LATEST))))


def activity_json(
    ledger: Ledger, *, session: str | None = None, since: float | None = None, by: By | None = None
) -> Iterator[str]:
    """The same as one JSON object, piece by piece: the total, the sums by each grouping (or the one asked for), and every call, newest
    last. However many calls there are, no more than one of them is held at a time."""
    groupings: tuple[Grouping, ...] = ("session", "model", "role", "day")
    if by is not None:
        groupings = () if by == "calls" else (by,)
    everything = ledger.sums(session=session, since=since)[0]
    head = {
        "schema": 1,
        "session": session,
        "since": since,
        **_sum_json(everything),
        "by": {
            name: [{"key": group.key, **_sum_json(group)} for group in ledger.sums(name, session=session, since=since)]
            for name in groupings
        },
    }
    yield dumps(head).removesuffix("}") + ',"calls":['
    comma = ""
    for row in ledger.each_call(session=session, since=since):
        yield comma + dumps(row.as_json())
        comma = ","
    yield "]}\n"


def _sum_json(group: Sum) -> dict[str, Any]:
    return {
        "count": group.calls,
        "unfinished": group.unfinished,
        "usage": _usage_json(group.usage),
        "cost": _cost_json(group.total),
        "duration_s": group.duration_s,
    }


def _usage_json(usage: Usage) -> dict[str, int]:
    return {
        "prompt_tokens": usage.prompt,
        "cached_tokens": usage.cached,
        "cache_write_tokens": usage.cache_write,
        "completion_tokens": usage.completion,
        "reasoning_tokens": usage.reasoning,
    }


def _cost_json(total: Total) -> dict[str, Any]:
    return {"usd": total.usd, "lower_bound": total.lower_bound}


def _sum_table(by: Grouping, groups: Sequence[Sum], everything: Sum) -> TableView:
    words = role_in_words if by == "role" else str
    rows = [_sum_row(words(group.key or "(none)"), group) for group in groups]
    if len(rows) > 1:
        rows.append(_sum_row("all", everything))
    columns: tuple[str, ...] = (by, "calls", "not done", "prompt", "cached", "answer", "time", "cost")
    if not any(group.unfinished for group in (*groups, everything)):
        columns, rows = (*columns[:2], *columns[3:]), [(*row[:2], *row[3:]) for row in rows]
    return TableView(
        title=f"by {by}",
        columns=columns,
        rows=tuple(rows),
        align="l" + "r" * (len(columns) - 1),
        note=_note(everything),
        spare=("cached", "time", "calls"),
    )


def _sum_row(label: str, group: Sum) -> tuple[str, ...]:
    least = "≥ " if group.unreported else ""
    return (
        label,
        str(group.calls),
        str(group.unfinished) if group.unfinished else "",
        f"{least}{group.usage.prompt:,}",
        f"{group.usage.cached:,}",
        f"{least}{group.usage.completion:,}",
        _seconds(group.duration_s),
        str(group.total),
    )


def _call_table(
    ledger: Ledger, session: str | None, since: float | None, everything: Sum, at_most: int | None = None
) -> TableView:
    shown = ledger.calls(session=session, since=since, newest=at_most)
    left_out = f"the last {len(shown)} of {plural(everything.calls, 'call')}; " if len(shown) < everything.calls else ""
    return TableView(
        title="calls",
        columns=("when", "role", "step", "model", "prompt", "cached", "answer", "first", "time", "outcome", "cost"),
        rows=tuple(_call_row(row) for row in shown),
        align="rlrlrrrrrlr",
        note=left_out + _note(everything),
        spare=("cached", "first", "step", "prompt", "answer"),
    )


def _call_row(row: CallRow) -> tuple[str, ...]:
    served = f" → {row.model_served}" if row.model_served and row.model_served != row.model_requested else ""
    outcome = "under way" if row.outcome == "reserved" else row.outcome
    return (
        _when(row.started),
        role_in_words(f"{row.purpose}/{row.slot or ''}"),
        str(row.iteration),
        f"{row.endpoint}:{row.model_requested}{served}",
        _count(row.prompt_tokens),
        _count(row.cached_tokens),
        _count(row.completion_tokens),
        _seconds(row.ttft_s),
        _seconds(row.duration_s),
        f"{outcome} ({row.error_kind})" if row.error_kind not in (None, outcome) else outcome,
        _call_cost(row),
    )


def call_line(row: CallRow) -> str:
    """One call on one line: when, who, which model, and once it has ended what it took."""
    when, role, step, model, prompt, _cached, answer, _first, took, outcome, cost = _call_row(row)
    if row.outcome == "reserved":
        return f"{when}  {role:<14} {model}  …"
    return (
        f"{when}  {role:<14} {model}  step {step}  {prompt or '?'} → {answer or '?'} tokens  {took}  {outcome}  {cost}"
    )


def _call_cost(row: CallRow) -> str:
    if row.cost_nano is None and row.reserved_nano is not None:
        return f"unknown, ≤ {show_usd(row.reserved_nano)}"
    return show_usd(row.cost_nano)


def _note(everything: Sum) -> str:
    if not everything.calls:
        return "no calls"
    calls = plural(everything.calls, "call")
    unknown = everything.total.unknown
    known = f"; the cost of {unknown:,} is not known" if unknown else ""
    return f"{calls}, {everything.total}{known}"


def _when(started: float) -> str:
    """The time of a call, with its date where that is not today's."""
    day = time.strftime("%Y-%m-%d ", time.localtime(started))
    today = time.strftime("%Y-%m-%d ", time.localtime())
    return ("" if day == today else day) + time.strftime("%H:%M:%S", time.localtime(started))


def _count(tokens: int | None) -> str:
    return "" if tokens is None else f"{tokens:,}"


def _seconds(duration: float | None) -> str:
    return "" if duration is None else span(duration, exact=True)
