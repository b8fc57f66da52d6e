"""What follows from a turn: pure decisions over a goal's state. Whoever drives the goal does what they say."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from agent.goal import prompts
from agent.goal.budget import Spent, show_span
from agent.goal.judge import UNREADABLE
from agent.text.numbers import plural

if TYPE_CHECKING:
    from agent.goal.gates import GateFailure
    from agent.goal.judge import Ruling
    from agent.goal.state import GoalState

MOST_UNREADABLE, MOST_UNREACHABLE, MOST_GATES, MOST_CIRCLES = 3, 5, 5, 3
"""So many turns in a row with the same trouble, and the goal is paused: then somebody should look."""

Kind = Literal["continue", "done", "blocked", "wait", "budget", "paused"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What is known after a turn. Exactly one of `ruling` and `gate` may be missing: a failing gate needs no judge.

    `same_gate`: it failed as it did in the turn before. `circles`: how the turn went in circles, in words. `cut_off`: it was ended at its
    limit of calls. `spent`: all that the goal has taken, this turn included.
    """

    spent: Spent
    ruling: Ruling | None = None
    gate: GateFailure | None = None
    same_gate: bool = False
    circles: str = ""
    cut_off: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """`message` begins the next turn (continue, and wait after `wait_s` seconds). `reason` is for people."""

    kind: Kind
    reason: str
    message: str = ""
    wait_s: float = 0.0

    @property
    def goes_on(self) -> bool:
        """Another turn follows."""
        return self.kind in ("continue", "wait")

    def as_json(self, state: GoalState, finding: Finding) -> dict[str, Any]:
        """The record that is kept of it: US dollars, seconds, tokens."""
        spent = finding.spent
        return {
            "goal": state.text,
            "turn": spent.turns,
            "decision": self.kind,
            "reason": self.reason,
            "wait_s": self.wait_s or None,
            "votes": [vote.as_json() for vote in finding.ruling.votes] if finding.ruling else [],
            "gate": {"command": finding.gate.command, "tail": finding.gate.tail} if finding.gate else None,
            "circles": finding.circles or None,
            "spent": {
                "turns": spent.turns,
                "seconds": round(spent.seconds, 1),
                "tokens": spent.tokens,
                "usd": spent.nano / 1e9,
                "lower_bound": spent.unknown > 0,
            },
        }


def decide(state: GoalState, finding: Finding) -> tuple[GoalState, Decision]:
    """The state after a turn that came to its end, and what to do."""
    state, decision = _verdict(state, finding)
    if decision.goes_on:
        state, decision = _circles(state, finding, decision)
    if decision.goes_on:
        decision = _budget(state, finding, decision)
    if decision.kind == "done":
        return replace(state, status="done", reason=decision.reason), decision
    if not decision.goes_on:
        return state.paused(decision.reason), decision
    return replace(state, reason=decision.reason), decision


def _verdict(state: GoalState, finding: Finding) -> tuple[GoalState, Decision]:
    if finding.gate is not None:
        return _gate(state, finding, finding.gate)
    state = replace(state, strikes=replace(state.strikes, gates=0))
    ruling = finding.ruling
    if ruling is None or ruling.error is not None:
        return _not_judged(state, finding)
    state = replace(state, strikes=replace(state.strikes, unreadable=0, unreachable=0))
    if ruling.kind in ("done", "blocked"):
        return state, Decision(ruling.kind, ruling.reason or f"the judge says: {ruling.kind}")
    if ruling.kind == "wait":
        message = prompts.continuation(state.text, state.criteria, prompts.WOKEN)
        return state, Decision("wait", ruling.reason or "the judge says: wait", message, ruling.wait_s)
    why = prompts.missing(ruling.reason, ruling.unmet, ruling.dissent)
    if finding.cut_off:
        why = f"{prompts.CUT_OFF}\n{why}"
    reason = ruling.reason or "; ".join(ruling.unmet) or "the judge says: continue"
    return state, Decision("continue", reason, prompts.continuation(state.text, state.criteria, why))


def _gate(state: GoalState, finding: Finding, gate: GateFailure) -> tuple[GoalState, Decision]:
    times = state.strikes.gates + 1 if finding.same_gate else 1
    state = replace(state, strikes=replace(state.strikes, gates=times))
    if times >= MOST_GATES:
        return state, Decision("paused", f"the gate `{gate.command}` fails in the same way for the {times}th time")
    message = prompts.continuation(state.text, state.criteria, prompts.gate_failed(gate.command, gate.tail))
    return state, Decision("continue", f"the gate `{gate.command}` fails", message)


def _not_judged(state: GoalState, finding: Finding) -> tuple[GoalState, Decision]:
    kind, told = (
        finding.ruling.error if finding.ruling and finding.ruling.error else ("unavailable", "there is no judge")
    )
    if finding.ruling is None or finding.ruling.lasting:
        return state, Decision("paused", f"the judge can't be asked ({kind}): {told}")
    strikes = state.strikes
    if kind == UNREADABLE:
        strikes = replace(strikes, unreadable=strikes.unreadable + 1)
    else:
        strikes = replace(strikes, unreachable=strikes.unreachable + 1)
    state = replace(state, strikes=strikes)
    if strikes.unreadable >= MOST_UNREADABLE or strikes.unreachable >= MOST_UNREACHABLE:
        times = strikes.unreadable if kind == UNREADABLE else strikes.unreachable
        return state, Decision("paused", f"the judge failed {plural(times, 'time')} in a row ({kind}): {told}")
    why = f"{prompts.CUT_OFF}\n{prompts.NOT_JUDGED}" if finding.cut_off else prompts.NOT_JUDGED
    return state, Decision(
        "continue", f"not judged ({kind}): {told}", prompts.continuation(state.text, state.criteria, why)
    )


def _circles(state: GoalState, finding: Finding, decision: Decision) -> tuple[GoalState, Decision]:
    times = state.strikes.circles + 1 if finding.circles else 0
    state = replace(state, strikes=replace(state.strikes, circles=times))
    if times >= MOST_CIRCLES:
        return state, Decision(
            "paused", f"it has gone in circles for {plural(times, 'turn')} in a row: {finding.circles}"
        )
    if not finding.circles:
        return state, decision
    return state, replace(decision, message=f"{prompts.CIRCLES.format(words=finding.circles)}\n\n{decision.message}")


def _budget(state: GoalState, finding: Finding, decision: Decision) -> Decision:
    used = finding.spent - state.granted
    if reached := state.budget.reached(used):
        return Decision("budget", f"its budget is used up ({reached}); the last verdict: {decision.reason}")
    limit = state.budget.seconds
    if decision.kind == "wait" and limit is not None and used.seconds + decision.wait_s > limit:
        left = show_span(max(0.0, limit - used.seconds))
        return Decision("budget", f"it would have to wait {show_span(decision.wait_s)}, and its budget has {left} left")
    return decision
