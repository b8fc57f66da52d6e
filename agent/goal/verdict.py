"""Finding out how a goal stands after a turn: gates, judges, and the turn's own record."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from agent import events
from agent.errors import UsageError
from agent.goal import prompts
from agent.goal.engine import Finding
from agent.goal.evidence import claimed, end_of
from agent.goal.gates import run_gates
from agent.goal.judge import Bench, Ruling
from agent.llm.request import ModelRef
from agent.plugin import JudgeSeat
from agent.text.numbers import plural

if TYPE_CHECKING:
    from agent.events import Emit
    from agent.goal.gates import GateFailure
    from agent.goal.pursuit import Pursuit
    from agent.goal.state import GoalState
    from agent.llm.accounting import CallContext
    from agent.plugin import Ending, TurnState


async def find(goal: Pursuit, turn: TurnState, ending: Ending, context: CallContext, emit: Emit) -> Finding:
    """Everything that a decision needs. A turn counts from here on; gates run before any `done`, and before the judge where the agent
    itself says that it is done (a failing one then saves the call)."""
    state, watch = goal.state, goal.watch
    assert state is not None and watch is not None
    reply = turn.reply.text if turn.reply is not None else ""
    claim = claimed(reply)
    passed = False
    gate: GateFailure | None = None
    ruling: Ruling | None = None
    if claim is not None and claim.kind == "done":
        gate = await _gates(goal, state, emit)
        passed = gate is None
    if gate is None:
        case = prompts.case(
            state.text,
            state.criteria,
            claim=f"{claim.kind}: {claim.about}" if claim else "",
            record=str(watch.evidence) + _gates_passed(state, passed),
            reply=end_of(reply),
            now=time.strftime("%A %Y-%m-%d %H:%M"),
        )
        ruling = await _rule(goal, state, case, context, emit)
        if ruling.kind == "done" and ruling.error is None and not passed:
            gate = await _gates(goal, goal.state or state, emit)
    if gate is not None or (ruling is not None and ruling.error is None):
        watch.evidence.clear()
    spent = goal.total()
    return Finding(
        spent=replace(spent, turns=spent.turns + 1),
        ruling=ruling,
        gate=gate,
        same_gate=watch.same_gate(gate.shape if gate else None),
        circles=watch.circles(reply),
        cut_off=ending.status == "limit",
    )


async def _rule(goal: Pursuit, state: GoalState, case: str, context: CallContext, emit: Emit) -> Ruling:
    try:
        seats = seats_for(goal, state.judge or goal.settings.judge)
    except UsageError as problem:
        return Ruling("continue", "", error=(problem.kind, problem.message))
    if goal.bench is None:
        goal.bench = Bench(goal.host.client)
    return await goal.bench.rule(seats, case, context, emit)


def seats_for(goal: Pursuit, name: str | None) -> Sequence[JudgeSeat]:
    """Who judges: None or `main` the main model, ENDPOINT:MODEL that one, anything else a panel of that name. Raises UsageError."""
    if name in (None, "main"):
        model = goal.model or _parsed(goal.host.main_model)
        if model is None:
            raise UsageError("there is no model to judge with", remedy="name one: /goal judge ENDPOINT:MODEL")
        return (_seat(model),)
    assert name is not None
    if ":" in name:
        model = _parsed(name)
        if model is None:
            raise UsageError(
                f"{name!r} is not an ENDPOINT:MODEL", remedy="/goal judge ENDPOINT:MODEL", kind="model_ref"
            )
        goal.host.client.endpoint(model.endpoint)
        return (_seat(model),)
    panel = goal.host.registry.judges.find(name)
    if not panel:
        known = ", ".join(("main", "ENDPOINT:MODEL", *goal.host.registry.judges.names()))
        raise UsageError(f"there is no judge {name!r}", remedy=f"there are: {known}", kind="unknown_judge")
    return panel


def _seat(model: ModelRef) -> JudgeSeat:
    return JudgeSeat(model.model.rpartition("/")[2], model)


def _parsed(name: str | None) -> ModelRef | None:
    try:
        return ModelRef.parse(name) if name else None
    except ValueError:
        return None


async def _gates(goal: Pursuit, state: GoalState, emit: Emit) -> GateFailure | None:
    if not state.gates:
        return None
    noun = "gate" if len(state.gates) == 1 else plural(len(state.gates), "gate")
    emit(events.Notice(source="goal", level="info", code="goal_gates", text=f"goal: running the {noun}"))
    return await run_gates(state.gates, goal.host.run_shell, goal.settings.gate_timeout_s)


def _gates_passed(state: GoalState, passed: bool) -> str:
    if not passed or not state.gates:
        return ""
    return "\n" + "\n".join(f"(run by the program just now) `{gate}` exited with 0" for gate in state.gates)
