"""What is kept of a goal with the session: everything that a restart, a compaction or a fork must not lose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from agent.goal.budget import Budget, Spent, read_into

Status = Literal["active", "paused", "done"]

RESTARTED = "the program ended while it ran"


@dataclass(frozen=True, slots=True)
class Strikes:
    """What went wrong in a row; a good turn or `/goal resume` clears it.

    `unreadable`: verdicts that no reading made sense of. `unreachable`: judge calls that failed. `gates`: turns that ended with a gate
    failing the same way. `circles`: turns that went in circles. `outages`: failures of the main model that may pass.
    """

    unreadable: int = 0
    unreachable: int = 0
    gates: int = 0
    circles: int = 0
    outages: int = 0


@dataclass(frozen=True, slots=True)
class GoalState:
    """One goal. A value: each step makes a new one.

    `granted` is what had been spent when the budget began to count (`/goal resume` grants it anew). `turn` is the turn that is under
    way and not billed yet. `judge` is None for the configured one, else ENDPOINT:MODEL or a panel's name.
    """

    text: str
    status: Status = "active"
    reason: str = ""
    criteria: tuple[str, ...] = ()
    gates: tuple[str, ...] = ()
    judge: str | None = None
    budget: Budget = field(default_factory=Budget)
    spent: Spent = field(default_factory=Spent)
    granted: Spent = field(default_factory=Spent)
    strikes: Strikes = field(default_factory=Strikes)
    turn: str = ""

    @property
    def active(self) -> bool:
        """It goes on by itself."""
        return self.status == "active"

    @property
    def used(self) -> Spent:
        """What counts against the budget."""
        return self.spent - self.granted

    def paused(self, reason: str) -> GoalState:
        """It stands still, and why."""
        return replace(self, status="paused", reason=reason)

    def resumed(self) -> GoalState:
        """Active again: strikes cleared, the budget granted anew."""
        return replace(self, status="active", reason="", strikes=Strikes(), granted=self.spent)

    def as_json(self) -> dict[str, Any]:
        """For the session."""
        data = asdict(self)
        return data | {"criteria": list(self.criteria), "gates": list(self.gates)}


def load(data: Mapping[str, Any] | None) -> GoalState | None:
    """A goal as a session has it; None where there is none. Fields of other versions are tolerated.

    One that was active when the program ended is paused: nothing begins to work, and to cost, because somebody looks at a session.
    """
    if not data or not isinstance(data.get("text"), str) or not data["text"].strip():
        return None
    status = data.get("status")
    state = GoalState(
        text=data["text"],
        status=status if status in ("active", "paused", "done") else "paused",
        reason=str(data.get("reason") or ""),
        criteria=_texts(data.get("criteria")),
        gates=_texts(data.get("gates")),
        judge=data["judge"] if isinstance(data.get("judge"), str) else None,
        budget=read_into(Budget, data.get("budget")),
        spent=read_into(Spent, data.get("spent")),
        granted=read_into(Spent, data.get("granted")),
        strikes=_strikes(data.get("strikes")),
        turn=str(data.get("turn") or ""),
    )
    return state.paused(RESTARTED) if state.active else state


def _texts(value: object) -> tuple[str, ...]:
    return tuple(one for one in value if isinstance(one, str)) if isinstance(value, list) else ()


def _strikes(value: object) -> Strikes:
    found = value if isinstance(value, dict) else {}
    return Strikes(**{name: found[name] for name in Strikes.__slots__ if isinstance(found.get(name), int)})
