"""From a panel's answers to findings: each with its place, who holds it, whether it is disputed, and what the file says to it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

from agent.text.numbers import plural
from moa.counsel.record import FindingRecord
from moa.panel.quoting import flat

if TYPE_CHECKING:
    from moa.aggregate.analysis import Analysis
    from moa.counsel.counsel import Counsel
    from moa.review.changes import Change, Changes

Held = Literal["agreed", "disputed", "some", "alone", "against", "unseen"]
HELD: tuple[Held, ...] = get_args(Held)
GRADES = ("blocker", "concern", "note")
CLAIM_CHARS = 600
NEAR = 3
"""So many lines off, a place is still the same."""
LEAST_CODE = 6
"""Characters of quoted code that is looked for; less is found anywhere."""

_PLACE = re.compile(
    r"(?P<mark>[`*(\[]*)(?P<path>[\w@+~.-][\w@+~./\\-]*\.\w+|[\w@+~.-]+/[\w@+~./-]+|Makefile|Dockerfile|LICENSE):"
    r"(?:L|line )?(?P<line>\d{1,7})(?:\s*[-–]\s*L?\d+)?[`*)\]:]*"
)
_GRADE = re.compile(r"[\[(*_]*\b(blocker|concern|note)\b[\])*_]*\s*[:–—-]?\s*", re.IGNORECASE)
_CODE = re.compile(r"`([^`\n]+)`")


class _Point(NamedTuple):
    """A point as somebody made it. `notes` are the sides of a dispute."""

    text: str
    held: Held
    holders: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def of(counsel: Counsel, changes: Changes) -> tuple[FindingRecord, ...]:
    """The findings of a review, the gravest first; without an analysis those that stand in the answers themselves."""
    from moa.panel.names import display_names

    found = counsel.aggregation
    if found is not None and found.analysis is not None:
        points = _of_analysis(found.analysis)
    else:
        answers = zip(display_names(counsel.answers), counsel.answers, strict=True)
        points = (point for name, answer in answers for point in _of_answer(name, answer.text))
    findings = [_checked(_finding(point), changes) for point in points]
    if found is None or found.analysis is None:
        findings = _together(findings)
    order = {held: at for at, held in enumerate(HELD)}
    findings.sort(key=lambda each: (GRADES.index(each.grade or "note"), order.get(each.held, 9), each.path, each.line))  # type: ignore[call-overload]
    return tuple(findings)


def _of_analysis(analysis: Analysis) -> Iterator[_Point]:
    yield from (_Point(text, "agreed") for text in analysis.consensus)
    for one in analysis.contradictions:
        notes = tuple(f"{held.model}: {held.stance}" for held in one.stances)
        yield _Point(one.topic, "disputed", tuple(held.model for held in one.stances), notes)
    for some in analysis.partial_coverage:
        yield _Point(some.point, "some", tuple(some.models))
    for alone in analysis.unique_insights:
        yield _Point(alone.insight, "alone", (alone.model,))
    yield from (_Point(text, "unseen") for text in analysis.blind_spots)


def _of_answer(name: str, text: str) -> Iterator[_Point]:
    """Each line of an answer that begins with a place, and what follows it up to the next one or to an empty line."""
    said: list[str] = []
    for line in [*text.splitlines(), ""]:
        begins = _PLACE.match(_bare(line))
        if said and (begins or not line.strip()):
            yield _Point(" ".join(said), "alone", (name,))
            said = []
        if begins or said:
            said.append(_bare(line))


def _bare(line: str) -> str:
    return re.sub(r"^\s*(?:[-*•]|\d+[.)])?\s*", "", line)


def _finding(point: _Point) -> FindingRecord:
    place = _PLACE.search(point.text)
    text = point.text
    if place is not None:
        text = (text[: place.start()] + text[place.end() :]).strip(" \t:–—-")
    grade = _GRADE.match(text)
    if grade is not None:
        text = text[grade.end() :]
    return FindingRecord(
        path=place["path"].replace("\\", "/") if place else "",
        line=int(place["line"]) if place else 0,
        grade=grade[1].lower() if grade else "",
        claim=flat(text.strip(), CLAIM_CHARS),
        held=point.held,
        holders=point.holders,
        notes=tuple(flat(note, CLAIM_CHARS) for note in point.notes),
    )


def _together(findings: Sequence[FindingRecord]) -> list[FindingRecord]:
    """What several members say of the same line is one finding: the first one's words, and what the others said as notes."""
    kept: list[FindingRecord] = []
    for finding in findings:
        at = next((n for n, other in enumerate(kept) if _same_place(finding, other)), None)
        if at is None:
            kept.append(finding)
            continue
        other = kept[at]
        grades = [each for each in (other.grade, finding.grade) if each]
        kept[at] = replace(
            other,
            held="some",
            holders=tuple(dict.fromkeys((*other.holders, *finding.holders))),
            notes=(*other.notes, f"{', '.join(finding.holders)}: {finding.claim}"),
            grade=min(grades, key=GRADES.index) if grades else "",
        )
    return kept


def _same_place(one: FindingRecord, other: FindingRecord) -> bool:
    return (
        bool(one.path)
        and one.path == other.path
        and abs(one.line - other.line) <= NEAR
        and one.holders != other.holders
    )


# Checked against the file


def _checked(finding: FindingRecord, changes: Changes) -> FindingRecord:
    """The finding with what its file says: whether the line is there, and the code that is quoted on it."""

    def so(verified: bool, reason: str = "", **more: object) -> FindingRecord:
        return replace(finding, verified=verified, reason=reason, **more)  # type: ignore[arg-type]

    if not finding.path:
        return so(False, "it names no file and line")
    change = changes.find(finding.path)
    if change is None:
        return so(False, "that file is not in the change")
    if change.lines is None:
        return so(False, "that file is deleted, or no text", path=change.path)
    if not 1 <= finding.line <= len(change.lines):
        return so(False, f"the file has {plural(len(change.lines), 'line')}", path=change.path)
    quoted = [code for code in _CODE.findall(finding.claim) if len(_squeezed(code)) >= LEAST_CODE]
    at = _where(quoted, change, finding.line)
    if quoted and at is None:
        return so(False, "what it quotes is not in the file", path=change.path)
    line = finding.line if at is None else at
    if line not in change.touched:
        return so(False, "that line is not in the change", path=change.path, line=line)
    moved = "" if line == finding.line else f"the answer said line {finding.line}"
    return so(True, moved, path=change.path, line=line)


def _where(quoted: Iterable[str], change: Change, line: int) -> int | None:
    """The line nearest to `line` on which one of the quotes stands."""
    assert change.lines is not None
    wanted = [_squeezed(code) for code in quoted]
    places = [
        number
        for number, text in enumerate(change.lines, 1)
        if (bare := _squeezed(text)) and any(code in bare for code in wanted)
    ]
    return min(places, key=lambda number: abs(number - line), default=None)


def _squeezed(code: str) -> str:
    return "".join(code.split())
