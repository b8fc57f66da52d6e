"""What of a counsel goes to the main model, and why nothing does: a pure decision."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from agent.values import dataclass
from moa.counsel import points
from moa.counsel.points import Point
from moa.panel.grades import highest, reaches

if TYPE_CHECKING:
    from moa.counsel.counsel import Counsel
    from moa.preset.preset import Severity

Withheld = Literal["silent", "severity", "repeat", "failed", "worth"]

TOKENS, BLOCKER_TOKENS = 300, 600
"""The most that one guidance has, marks included; with a blocker."""
LEAST_TOKENS = 180
"""Less room than this is none: the frame alone takes most of it."""
REMIND_CALLS = 5
"""A blocker that was not followed is said again, in one line, after so many calls of the main model."""


@dataclass(frozen=True, slots=True)
class Open:
    """A blocker in force that was not followed: what it said, where, and how many calls ago it was last said."""

    id: str
    text: str
    turn: int
    step: int
    calls: int


@dataclass(frozen=True, slots=True)
class InForce:
    """The guidance that the main model has before it now, as the session has it.

    `points` are oldest first; `tokens` is what all of it takes, `room` how many more there may be (None: no bound).
    """

    points: tuple[str, ...] = ()
    tokens: int = 0
    room: int | None = None
    open: Open | None = None

    @property
    def blockers_only(self) -> bool:
        """Whether there is no room for less than a blocker."""
        return self.room is not None and self.room < LEAST_TOKENS

    def limit(self, *, blocker: bool) -> int:
        """How long one more guidance may be, tokens."""
        if blocker:
            return BLOCKER_TOKENS
        return TOKENS if self.room is None else min(TOKENS, self.room)


@dataclass(frozen=True, slots=True)
class Delivery:
    """`points` go out; none do where `withheld` says why. `reminder`: instead of points, one line about what was said already."""

    points: tuple[Point, ...] = ()
    withheld: Withheld | None = None
    reminder: Open | None = None


def decide(counsel: Counsel, in_force: InForce, *, severity: Severity) -> Delivery:
    """What goes out of a counsel that was taken while `in_force` was.

    Only what is new; nothing below the preset's `severity`; where there is no more room, blockers alone. A blocker that was said before
    and not followed goes out again, as one line, every fifth call.
    """
    if not counsel.answers:
        return Delivery(withheld="failed")
    if not counsel.speakers:
        return Delivery(withheld="silent")
    grade = counsel.grade
    if in_force.blockers_only and grade != "blocker":
        return Delivery(withheld="severity")
    fresh = () if grade == "nothing" else points.new(counsel, in_force.points)
    if not fresh:
        return _repeated(counsel, in_force)
    if not reaches(grade, severity):
        return Delivery(withheld="severity")
    return Delivery(fresh)


def _repeated(counsel: Counsel, in_force: InForce) -> Delivery:
    """Nothing new. It is a repeat where something is in force; else the aggregator found that there is nothing to tell."""
    last = in_force.open
    grave = "blocker" in (counsel.grade, highest(answer.grade for answer in counsel.speakers))
    if grave and last is not None and last.calls >= REMIND_CALLS:
        return Delivery(reminder=last)
    return Delivery(withheld="repeat" if in_force.points else "silent")
