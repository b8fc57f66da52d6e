"""A counsel in one line, for every face: who answered, what came of it, what it cost, how long it took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from agent.llm.money import show_cost
from agent.plugin import RecordLine
from agent.text.numbers import span
from moa.aggregate.methods import came_by
from moa.counsel.cadence import STOPPED, WITHHELD
from moa.counsel.standing import standings
from moa.panel.quoting import flat

if TYPE_CHECKING:
    from agent.events import RecordLevel
    from moa.counsel.record import CounselRecord

TOPIC_CHARS = 80
TOLD_AS = {"answer": "fuse", "review": "review", "plan": "plan"}
"""What a counsel is called by what the panel was asked to do."""


def line_of(record: CounselRecord) -> RecordLine:
    """`counsel budget: 3 of 3 answered · 2 agreed, 1 disputed: TOPIC · $0.031 · 8.2 s`, and how it went."""
    asked = standings(record)
    odd = [str(each) for each in asked if each.marks != ("answered",) and each.marks != ("silent",)]
    silent = [each.name for each in asked if each.marks == ("silent",)]
    cost = show_cost(record.cost.usd, record.cost.lower_bound)
    parts = [
        _answered(record),
        *_outcome(record, silent),
        *odd,
        "on a draft" if record.draft else "",
        "asked by the main model" if record.trigger == "consult" else "",
        cost if "$" in cost else f"cost {cost}",
        span(record.duration_s, exact=True),
    ]
    again = " (analysed again)" if record.trigger == "again" else ""
    what = TOLD_AS.get(record.task, "counsel")
    head = f"{what} {record.preset}".rstrip() + again
    return RecordLine(f"{head}: {' · '.join(part for part in parts if part)}", _level(record, bool(odd)), record.id)


def _answered(record: CounselRecord) -> str:
    if STOPPED in record.warnings:
        return f"stopped when {record.answered} of {record.asked} had answered"
    if not record.answered:
        alone = "" if record.task in ("review", "plan") else ", the main model continues alone"
        return f"nobody of {record.asked} answered{alone}"
    return f"{record.answered} of {record.asked} answered"


def _outcome(record: CounselRecord, silent: Sequence[str]) -> list[str]:
    if not record.answered:
        return []
    if record.withheld == "silent" or (silent and len(silent) == record.answered):
        return [WITHHELD["silent"]]
    parts: list[str] = []
    if record.task == "review":
        parts.append(f"{len(record.findings)} finding{'' if len(record.findings) == 1 else 's'}")
    problem = record.aggregator.error if record.aggregator else None
    if record.analysis is not None:
        parts.append(points(record.analysis))
        if record.aggregator and record.aggregator.fallback_used:
            parts.append("by the fallback aggregator")
    elif problem is not None:
        parts.append(f"not compared ({problem.kind.replace('_', ' ')})")
    elif len(record.speakers) > 1:
        parts.append(_told(record))
    if silent:
        parts.append(f"{', '.join(silent)} silent")
    if record.severity in ("concern", "blocker"):
        parts.append(record.severity)
    if record.withheld:
        parts.append(f"nothing sent: {WITHHELD.get(record.withheld, record.withheld)}")
    elif record.reminds:
        parts.append("reminded of an earlier blocker")
    return parts


def _told(record: CounselRecord) -> str:
    """What a method without a model did, and whose answers it took."""
    method = came_by(record.rung)
    taken = [each.name for each in standings(record) if each.slot in (record.chosen or ())]
    return (method.told or method.mode) + (f": {', '.join(taken)}" if taken else "")


def points(analysis: Mapping[str, Any]) -> str:
    """`2 agreed, 1 disputed: TOPIC`; where there is neither, what else there is."""

    def many(key: str) -> list[Any]:
        value = analysis.get(key)
        return list(value) if isinstance(value, list | tuple) else []

    agreed, disputed, alone = many("consensus"), many("contradictions"), many("unique_insights")
    said = [f"{len(agreed)} agreed"] if agreed else []
    if disputed:
        topic = disputed[0].get("topic") if isinstance(disputed[0], Mapping) else None
        more = " …" if len(disputed) > 1 else ""
        said.append(f"{len(disputed)} disputed" + (f": {flat(str(topic), TOPIC_CHARS)}{more}" if topic else ""))
    if not said and alone:
        said.append(f"{len(alone)} raised by one member")
    return ", ".join(said) or "no point in common"


def _level(record: CounselRecord, odd: bool) -> RecordLevel:
    if not record.answered:
        return "failed"
    aggregator = record.aggregator
    if odd or record.failed or (aggregator and (aggregator.error or aggregator.fallback_used)):
        return "degraded"
    return "info" if record.withheld else "good"
