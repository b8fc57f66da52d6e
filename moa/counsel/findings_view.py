"""The findings of a review, drawn: each with its place, who holds it, and whether the file bears it out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.views import Mark, TreeView
from moa.counsel.telling import line_of

if TYPE_CHECKING:
    from moa.counsel.record import CounselRecord, FindingRecord

_MARKS: dict[str, Mark] = {"agreed": "agreed", "disputed": "disputed", "alone": "alone"}
HELD = {
    "agreed": "all agree",
    "disputed": "disputed",
    "some": "raised by some",
    "alone": "raised by one",
    "unseen": "raised by the aggregator alone",
}


def tree(record: CounselRecord, *, title: str = "") -> TreeView:
    """The findings of a record."""
    return TreeView(
        label=title or line_of(record).line,
        children=tuple(_finding(number, each) for number, each in enumerate(record.findings, 1)),
        text="" if record.findings else _nothing(record),
    )


def _nothing(record: CounselRecord) -> str:
    if not record.answered:
        return "Nobody on the panel answered: this is no review."
    return "The panel found nothing. /moa show has what each member said."


def _finding(number: int, finding: FindingRecord) -> TreeView:
    held = HELD.get(finding.held, finding.held)
    if finding.holders:
        held += f" ({', '.join(finding.holders)})"
    check = "" if finding.verified else f"not borne out: {finding.reason}"
    if finding.verified and finding.reason:
        check = finding.reason
    facts = (finding.grade, held, check)
    return TreeView(
        label=f"{number}. {place(finding)}{finding.claim}",
        mark=_MARKS.get(finding.held) if finding.verified or finding.held == "disputed" else "unverified",
        about=" · ".join(fact for fact in facts if fact),
        children=tuple(TreeView(label=note) for note in finding.notes),
    )


def place(finding: FindingRecord) -> str:
    """Where it is, as FILE:LINE; empty where it is nowhere."""
    return f"{finding.path}:{finding.line}  " if finding.path else ""
