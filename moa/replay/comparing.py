"""Two counsels side by side: which points both make, which only one makes, and which stand elsewhere; and what each cost.

Points are held against each other by their words, not by their meaning: what is said in quite other words counts as lost and won.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agent.llm.money import show_cost
from agent.serialize import to_plain
from agent.text.numbers import span
from agent.views import Mark, StackView, TableView, TreeView, View
from moa.counsel.points import Point, likeness, of_record

if TYPE_CHECKING:
    from moa.replay.runs import Run

LEAST = 0.5
"""So large a share of their words two points have in common that say the same."""


@dataclass(frozen=True, slots=True)
class Turned:
    """A point that both make, in different sections."""

    claim: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Difference:
    """What `b` has beside `a`: points that both make, that only `a` (lost) or `b` (won) makes, that stand elsewhere."""

    a: Run
    b: Run
    kept: tuple[Point, ...]
    lost: tuple[Point, ...]
    won: tuple[Point, ...]
    turned: tuple[Turned, ...]

    def plain(self) -> dict[str, Any]:
        """The JSON."""

        def points(found: Sequence[Point]) -> list[dict[str, str]]:
            return [{"section": point.section, "claim": point.claim} for point in found]

        return {
            "a": _about(self.a),
            "b": _about(self.b),
            "kept": points(self.kept),
            "lost": points(self.lost),
            "won": points(self.won),
            "turned": to_plain(self.turned),
        }


def compare(a: Run, b: Run) -> Difference:
    """Hold two runs against each other, best matches first."""
    first, second = of_record(a.record), of_record(b.record)
    pairs = sorted(
        (
            (-likeness(one.claim, other.claim), at, against)
            for at, one in enumerate(first)
            for against, other in enumerate(second)
            if likeness(one.claim, other.claim) >= LEAST
        ),
    )
    matched: dict[int, int] = {}
    for _score, at, against in pairs:
        if at not in matched and against not in matched.values():
            matched[at] = against
    kept: list[Point] = []
    turned: list[Turned] = []
    for at, against in sorted(matched.items()):
        one, other = first[at], second[against]
        if one.section == other.section:
            kept.append(other)
        else:
            turned.append(Turned(other.claim, one.section, other.section))
    return Difference(
        a,
        b,
        tuple(kept),
        tuple(point for at, point in enumerate(first) if at not in matched),
        tuple(point for at, point in enumerate(second) if at not in matched.values()),
        tuple(turned),
    )


def _about(run: Run) -> dict[str, Any]:
    record = run.record
    aggregator = record.aggregator
    return {
        "run": run.name,
        "preset": record.preset,
        "members": [{"slot": each.slot, "model": each.model_served or each.model_requested} for each in record.members],
        "aggregator": aggregator.model_served if aggregator else None,
        "severity": record.severity,
        "rung": record.rung,
        "cost": to_plain(record.cost),
        "duration_s": record.duration_s,
    }


def view(found: Difference) -> View:
    """For people: a table of the two, and the points in four branches."""
    both = [_about(found.a), _about(found.b)]
    rows: list[tuple[str, ...]] = [
        ("preset", *(str(each["preset"]) for each in both)),
        ("members", *(", ".join(f"{one['slot']} {_short(one['model'])}" for one in each["members"]) for each in both)),
        ("aggregator", *(_short(each["aggregator"]) if each["aggregator"] else "none" for each in both)),
        ("severity", *(each["severity"] or "nothing" for each in both)),
        ("points", str(len(of_record(found.a.record))), str(len(of_record(found.b.record)))),
        ("cost", *(show_cost(each["cost"]["usd"], each["cost"]["lower_bound"]) for each in both)),
        ("time", *(span(each["duration_s"], exact=True) for each in both)),
    ]
    table = TableView(columns=("", f"A  {found.a.name}", f"B  {found.b.name}"), rows=tuple(rows))
    branches = (
        _branch("Only in A: lost", found.lost, "against"),
        _branch("Only in B: won", found.won, "alone"),
        TreeView(
            label=f"In another section: turned ({len(found.turned)})",
            children=tuple(
                TreeView(label=each.claim, mark="disputed", about=f"{each.before} → {each.after}")
                for each in found.turned
            ),
        ),
        _branch("In both", found.kept, "agreed"),
    )
    tree = TreeView(label="Points, compared by their words", children=branches)
    return StackView(views=(table, tree))


def _branch(title: str, found: Sequence[Point], mark: Mark) -> TreeView:
    children = tuple(TreeView(label=point.text, mark=mark, about=point.section) for point in found)
    return TreeView(label=f"{title} ({len(found)})", children=children)


def _short(model: str) -> str:
    return model.rpartition("/")[2]
