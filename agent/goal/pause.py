"""Saying what became of a goal: records, notices, and how a turn ends that leaves it unmet."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from agent import events
from agent.goal import prompts
from agent.goal.budget import show_span
from agent.goal.engine import Decision
from agent.llm.messages import user
from agent.plugin import Continue, Ending

if TYPE_CHECKING:
    from agent.events import Emit
    from agent.llm.errors import ModelError
    from agent.plugin import TurnState

SOURCE = "goal"
RESUME = "/goal resume continues, with a fresh budget; /goal clear removes it"


def keep(turn: TurnState, data: dict[str, Any], emit: Emit) -> None:
    """Record a decision with the session, and show it."""
    record = events.Record(source=SOURCE, kind=SOURCE, data=data)
    turn.session.add_record(record, turn=turn.turn, iteration=turn.iteration)
    emit(record)


def tell(decision: Decision, turns: int, most: int | None, emit: Emit) -> None:
    """Say it to people, where the end of the turn does not say it itself."""
    of = f" of {most}" if most else ""
    count = f"turn {turns}{of}"
    match decision.kind:
        case "done":
            _say("info", "goal_done", f"goal met ({count}): {decision.reason}", emit)
        case "continue":
            _say("info", "goal_continues", f"goal, {count}: {decision.reason}", emit)
        case "wait":
            until = time.strftime("%H:%M:%S", time.localtime(time.time() + decision.wait_s))
            text = f"goal, {count}: waits {show_span(decision.wait_s)}, until {until}: {decision.reason}"
            _say("info", "goal_waits", text, emit)
        case _:
            pass


def tell_paused(reason: str, emit: Emit) -> None:
    """It stands still, and how it goes on."""
    _say("warning", "goal_paused", f"the goal is paused: {reason} · {RESUME}", emit)


def unmet(decision: Decision) -> Ending:
    """The end of a turn that leaves the goal as it is."""
    words = {"blocked": "it is blocked", "budget": "stopped", "paused": "paused"}
    message = f"the goal is not met, {words.get(decision.kind, decision.kind)}: {decision.reason}"
    return Ending("unmet", events.ErrorInfo(kind=f"goal_{decision.kind}", message=message, remedy=RESUME))


def out_of_budget(reached: str) -> Decision:
    """The budget ran out in the middle of a turn."""
    return Decision("budget", f"its budget is used up ({reached})")


def broken_off(ending: Ending) -> Decision:
    """The turn ended in a way that the next one would, too."""
    return Decision("paused", ending.error.message if ending.error else f"the turn ended as {ending.status}")


def after_outage(turn: TurnState, problem: ModelError, until: float, times: int, most: int, emit: Emit) -> Continue:
    """Try the call again at `until` (Unix seconds); what it had said before it broke is in the history."""
    clock = time.strftime("%H:%M:%S", time.localtime(until))
    text = f"{problem.message}; the goal tries again at {clock} ({times} of {most}); Esc stops it"
    _say("warning", "goal_outage", text, emit)
    history = turn.session.history()
    broken = bool(history) and history[-1].role == "assistant"
    message = user(prompts.AFTER_OUTAGE, synthetic="continuation") if broken else None
    return Continue(message, wait_until=until, reason=problem.kind)


def _say(level: Any, code: str, text: str, emit: Emit) -> None:
    emit(events.Notice(source=SOURCE, level=level, code=code, text=text))
