"""Who holds what: members across, points down. What was checked counts, not what was counted: a holder is one whose words were found."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from agent.views import Mark, MatrixCell, MatrixColumn, MatrixRow, MatrixView
from moa.aggregate.methods import came_by
from moa.counsel.standing import Standing, slots_by_name, standings

if TYPE_CHECKING:
    from moa.aggregate.analysis import Analysis, Contradiction
    from moa.counsel.record import CounselRecord, QuoteRecord

DISPUTED, ALONE, AGREED, SOME = "Disagreements", "Raised by one member", "Agreed", "Mentioned by some"
NONE, NEXT = "Blind spots", "Next steps"
_EMPTY = MatrixCell()
_LETTERS = "ABCDEFGH"


class Checks:
    """The quotes of an analysis by the point that they are for."""

    def __init__(self, quotes: Sequence[QuoteRecord]) -> None:
        self.quotes = quotes

    def of(self, path: str) -> list[QuoteRecord]:
        """Those for a point, or for a part of it."""
        inside = re.compile(re.escape(path) + r"(?:[.\[].*)?")
        return [quote for quote in self.quotes if inside.fullmatch(quote.path)]

    def found(self, path: str, names: set[str]) -> bool:
        """Whether a quote of one of these sources is where it is said to be."""
        return any(quote.verified and quote.source in names for quote in self.of(path))


def matrix(record: CounselRecord, analysis: Analysis | None, *, title: str = "") -> MatrixView:
    """The table; without rows where nothing was compared, and then `note` says why."""
    asked = standings(record)
    columns = tuple(
        MatrixColumn(key=each.slot, label=each.name, state=each.state, mark=each.marks[0]) for each in asked
    )
    if analysis is None:
        return MatrixView(title=title, columns=columns, note=why_no_analysis(record))
    rows = tuple(_Rows(record, analysis, asked))
    quoted = "" if record.evidence else "No quotes were given, so who holds a point is the aggregator's word alone."
    return MatrixView(title=title, columns=columns, rows=rows, note=quoted if rows else "No point came of it.")


def why_no_analysis(record: CounselRecord) -> str:
    """Why the answers were not compared."""
    problem = record.aggregator.error if record.aggregator else None
    if not record.answered:
        return "Nobody answered."
    if not record.speakers:
        return "Nobody had anything to add."
    if problem is not None:
        return f"The answers could not be compared ({problem.kind.replace('_', ' ')}): {problem.message}"
    if len(record.speakers) == 1:
        return "One member had something to say: there was nothing to compare."
    method = came_by(record.rung)
    return method.why or f"The answers were not compared ({method.mode})."


class Side(NamedTuple):
    """One side of a disagreement."""

    letter: str
    stance: str
    models: list[str]
    at: list[int]


def sides(one: Contradiction, slots: Mapping[str, str]) -> list[Side]:
    """The sides of a disagreement, in the order of the panel: those who say the same stand together. `slots` are the members' by name."""
    found: dict[str, Side] = {}
    for index, held in sorted(enumerate(one.stances), key=lambda each: slots.get(each[1].model, "~").zfill(4)):
        same = " ".join(re.findall(r"\w+", held.stance.casefold())) or held.stance
        if same not in found:
            found[same] = Side(_LETTERS[len(found) % len(_LETTERS)], held.stance, [], [])
        found[same].models.append(held.model)
        found[same].at.append(index)
    return list(found.values())


class _Rows:
    """Makes the rows, dissent first."""

    def __init__(self, record: CounselRecord, analysis: Analysis, asked: Sequence[Standing]) -> None:
        self._slots = slots_by_name(record)
        self._asked = [each.slot for each in asked]
        self._named = {each.slot: each.name for each in asked}
        self._speakers = {member.slot for member in record.speakers}
        self._checks = Checks(record.evidence)
        self._analysis = analysis

    def __iter__(self) -> Iterator[MatrixRow]:
        found = self._analysis
        for index, one in enumerate(found.contradictions):
            yield self._disputed(f"contradictions[{index}]", one)
        for index, insight in enumerate(found.unique_insights):
            path = f"unique_insights[{index}]"
            yield self._row(ALONE, "alone", path, insight.insight, [insight.model])
        for index, point in enumerate(found.consensus):
            yield self._row(AGREED, "agreed", f"consensus[{index}]", point, None)
        for index, partial in enumerate(found.partial_coverage):
            yield self._row(SOME, None, f"partial_coverage[{index}]", partial.point, partial.models)

    def _row(self, group: str, mark: Mark | None, path: str, text: str, holders: list[str] | None) -> MatrixRow:
        """A point and who holds it; None: all who spoke are said to."""
        slots = self._speakers if holders is None else {self._slots[name] for name in holders if name in self._slots}
        unknown = [] if holders is None else [name for name in holders if name not in self._slots]
        held: Mark = "alone" if mark == "alone" else "agreed"
        cells = {slot: MatrixCell(mark=held if self._found(path, slot) else "unverified") for slot in slots}
        if mark == "agreed" and not any(cell.mark == held for cell in cells.values()):
            mark = "unverified"  # said of them, and found with none
        notes = (f"held by {', '.join(unknown)}",) if unknown else ()
        return MatrixRow(label=text, group=group, mark=mark, cells=self._cells(cells), notes=notes)

    def _disputed(self, path: str, one: Contradiction) -> MatrixRow:
        cells: dict[str, MatrixCell] = {}
        notes = []
        for side in sides(one, self._slots):
            for model, at in zip(side.models, side.at, strict=True):
                if (slot := self._slots.get(model)) is None:
                    continue
                doubt = self._doubted(f"{path}.stances[{at}]", slot)
                text = (cells[slot].text if slot in cells else "") + side.letter
                cells[slot] = MatrixCell(mark="unverified" if doubt else "disputed", text=text)
            who = dict.fromkeys(self._named.get(self._slots.get(model, ""), model) for model in side.models)
            notes.append(f"{side.letter}  {', '.join(who)}: {side.stance}")
        return MatrixRow(
            label=one.topic or "(no topic)",
            group=DISPUTED,
            mark="disputed",
            cells=self._cells(cells),
            notes=tuple(notes),
        )

    def _cells(self, found: dict[str, MatrixCell]) -> tuple[MatrixCell, ...]:
        return tuple(found.get(slot, _EMPTY) for slot in self._asked)

    def _found(self, path: str, slot: str) -> bool:
        return self._checks.found(path, self._names(slot))

    def _doubted(self, path: str, slot: str) -> bool:
        """Whether a quote was given for it and none was found."""
        given = [quote for quote in self._checks.of(path) if quote.source in self._names(slot)]
        return bool(given) and not any(quote.verified for quote in given)

    def _names(self, slot: str) -> set[str]:
        return {name for name, of in self._slots.items() if of == slot}
