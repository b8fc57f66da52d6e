"""When to take counsel: a pure decision, with a receipt for each.

`iteration`: before every call of the main model. `turn`: before a turn's first. `every:N`: before the first and then every Nth.
`signal`: before the first; after a tool that could not run (a command that exits with 1 has run); when the work goes in circles
(`agent.loop.stuck`; the same call with the same result counts from the third time on); and before a reply that would end a turn which wrote
something since the last counsel.
"""

from __future__ import annotations

from dataclasses import field
from typing import Literal

from agent.llm.money import Total
from agent.text.numbers import plural, span
from agent.values import dataclass
from moa.preset.cadence import Cadence

Trigger = Literal[
    "turn_start",
    "iteration",
    "every",
    "tool_error",
    "same_result",
    "edit_redone",
    "same_error",
    "before_stop",
    "consult",
    "again",
    "fuse",
    "review",
    "plan",
]

KIND = "counsel"
"""The kind under which a session keeps a counsel."""
STOPPED = "stopped before its end"
"""The warning of a counsel that the user stopped."""
RECEIPT = "receipt"
"""The kind of what is kept where no counsel was taken."""
REPLAYED = "replayed"
"""The trigger of what older versions kept for a call that went out with the guidance of an earlier counsel: nobody is told of it."""

_SAID: dict[Trigger, str] = {
    "tool_error": "a tool could not run",
    "same_result": "the same call came to the same result",
    "edit_redone": "an edit was undone and made again",
    "same_error": "the same error came again and again",
}


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether counsel is taken now, under which trigger, and why in words."""

    take: bool
    trigger: Trigger
    reason: str


PATIENCE, MOST_STEPS = 5, 8
"""After so many silent counsels in a row every second call is enough; after each further one half as often, down to every eighth."""


def interval(quiet: int) -> int:
    """How many calls apart counsel is taken at `iteration`, after so many counsels in a row that had nothing to say."""
    return 1 if quiet < PATIENCE else min(MOST_STEPS, 2 ** (quiet - PATIENCE + 1))


def decide(cadence: Cadence, *, first: bool, since: int, signals: tuple[Trigger, ...] = (), quiet: int = 0) -> Decision:
    """The decision before a call of the main model.

    `first`: no counsel was taken in this turn yet. `since`: main-model calls made since the last counsel was taken. `signals`: what
    happened since then; the first of them is the reason. `quiet`: how many counsels in a row had nothing to say.
    """
    if first:
        return Decision(True, "turn_start", "a turn's first call")
    if cadence.kind == "iteration":
        steps = 1 if signals else interval(quiet)
        if since < steps:
            return Decision(
                False,
                "iteration",
                f"silent {plural(quiet, 'time')} in a row, so it is asked every {plural(steps, 'call')}",
            )
        reason = (
            "the cadence is every call" if steps == 1 else f"every {plural(steps, 'call')} while the panel is silent"
        )
        return Decision(True, "iteration", reason)
    if cadence.kind == "every":
        if since >= cadence.n:
            return Decision(True, "every", f"{plural(since, 'call')} since the last counsel")
        return Decision(False, "every", f"{since} of {plural(cadence.n, 'call')} since the last counsel")
    if cadence.kind == "signal":
        if signals:
            return Decision(True, signals[0], _SAID.get(signals[0], signals[0]))
        return Decision(False, "iteration", "nothing happened that calls for counsel")
    return Decision(False, "iteration", "the cadence is once a turn")


def decide_stop(cadence: Cadence, *, wrote: bool, held: bool) -> Decision:
    """The decision before a reply that would end the turn.

    `wrote`: something was written since the last counsel. `held`: a draft was held back in this turn already; once is enough.
    """
    if cadence.kind != "signal":
        return Decision(False, "before_stop", f"the cadence is {cadence}")
    if not wrote:
        return Decision(False, "before_stop", "nothing was written since the last counsel")
    if held:
        return Decision(False, "before_stop", "a draft of this turn was held back already")
    return Decision(True, "before_stop", "the turn wrote something and is about to end")


WITHHELD = {
    "silent": "nothing to add",
    "severity": "below the preset's severity",
    "repeat": "said before",
    "failed": "failed",
    "worth": "withheld to learn what it is worth",
}
"""Why nothing was sent, in words."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """Why counsel was or was not taken before one call, what it cost, or what leaving it out saved (an estimate: the average so far;
    None where there is none yet). `withheld`: why nothing of it was sent. Seconds; nano-dollars inside `Total`."""

    turn: str
    iteration: int
    decision: Decision
    cost: Total = field(default_factory=Total)
    duration_s: float = 0.0
    withheld: str | None = None
    saved_nano: int | None = None
    saved_s: float | None = None

    def __str__(self) -> str:
        if self.decision.take:
            came = f", {WITHHELD.get(self.withheld, self.withheld)}" if self.withheld else ""
            return f"taken ({self.decision.reason}){came}: {self.cost}, {span(self.duration_s, exact=True)}"
        if self.saved_s is None:
            return f"not taken ({self.decision.reason})"
        money = "" if self.saved_nano is None else f"about {Total(self.saved_nano, 1)} and "
        return f"not taken ({self.decision.reason}): saved {money}about {span(self.saved_s, exact=True)}"

    def as_json(self) -> dict[str, object]:
        """For the record of a counsel. US dollars and seconds."""
        return {
            "taken": self.decision.take,
            "trigger": self.decision.trigger,
            "reason": self.decision.reason,
            "cost": {"usd": self.cost.usd, "lower_bound": self.cost.lower_bound},
            "duration_s": round(self.duration_s, 3),
            "withheld": self.withheld,
            "saved_usd": None if self.saved_nano is None else self.saved_nano / 1e9,
            "saved_s": None if self.saved_s is None else round(self.saved_s, 3),
        }


class Receipts:
    """The receipts of a session, newest last, at most `keep` of them."""

    def __init__(self, keep: int = 200) -> None:
        self.keep = keep
        self.all: list[Receipt] = []
        self._taken = 0
        self._nano: list[int] = []
        self._seconds = 0.0

    def taken(
        self, turn: str, iteration: int, decision: Decision, cost: Total, duration_s: float, withheld: str | None = None
    ) -> Receipt:
        """Note a counsel that was taken. `withheld` says why nothing of it was sent."""
        self._taken += 1
        self._seconds += duration_s
        if not cost.lower_bound:
            self._nano.append(cost.nano)
        return self._add(Receipt(turn, iteration, decision, cost, duration_s, withheld))

    def skipped(self, turn: str, iteration: int, decision: Decision) -> Receipt:
        """Note a counsel that was not taken. What it saved is the average of those that were."""
        nano = sum(self._nano) // len(self._nano) if self._nano else None
        seconds = self._seconds / self._taken if self._taken else None
        return self._add(Receipt(turn, iteration, decision, saved_nano=nano, saved_s=seconds))

    def _add(self, receipt: Receipt) -> Receipt:
        self.all.append(receipt)
        del self.all[: -self.keep]
        return receipt
