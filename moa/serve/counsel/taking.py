"""Taking counsel for a served request: whether, with which panel, and what of it goes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from agent.ledger.patient import AFTER_S
from agent.session.clean import clean_value
from moa.counsel import delivery, guidance, keep
from moa.counsel.cadence import WITHHELD, Decision, decide
from moa.panel.tasks import ANSWER
from moa.preset.cadence import Cadence
from moa.serve.counsel import side_calls
from moa.serve.counsel.panels import Advice
from moa.serve.counsel.standing import given, history
from moa.serve.guidance.rows import new_id

if TYPE_CHECKING:
    from agent.events import Emit
    from agent.llm.accounting import CallContext
    from agent.llm.messages import Message
    from moa.counsel.counsel import Counsel
    from moa.counsel.take import Council
    from moa.preset.preset import Preset
    from moa.serve.counsel.lookups import Lookup
    from moa.serve.counsel.served import Served
    from moa.serve.guidance.rows import Row


ONCE_A_TURN = Cadence("turn")


async def take(served: Served, context: CallContext, emit: Emit) -> None:
    """Take counsel where it is to be taken, and write down what goes out. `context` is the account of the request (caps and run).

    `served.said` says what became of it. A counsel that goes wrong costs the advice, never the answer. Raises StateError, and
    CancelledError, which stops the panel.
    """
    served.run = context.run or ""
    if served.asked.counting:
        served.said = "skipped; only tokens are counted"
        return
    if (again := served.again) is not None:
        served.said = "reused"
        text = None if again.guidance is None else again.guidance.text
        await served.begin(again.counsel or {}, text, taken=again.taken)
        return
    decision = await served.serving.ledger.patiently(partial(_decision, served))
    preset = served.asked.preset
    if preset is None or decision is None:
        await served.begin({"taken": False, "reason": served.said})
    elif preset.lookahead and not served.standing.first and not served.asked.fuse:
        await _look_ahead(served, preset, decision, context, emit)
    elif not decision.take:
        served.said = f"skipped; {decision.reason}"
        await served.begin(_skipped(decision))
    else:
        await _counsel(served, preset, decision, context, emit)


def _decision(served: Served) -> Decision | None:
    """Whether counsel is taken; None where it is out of the question, and `said` says why."""
    if why := _why_never(served):
        served.said = f"skipped; {why}"
        return None
    now, preset = served.standing, served.asked.preset
    assert preset is not None
    if served.asked.wanted == "on":
        return Decision(True, "turn_start" if now.first else "iteration", "the request asks for it")
    if served.asked.fuse:
        found = decide(ONCE_A_TURN, first=now.first, since=now.since)
        return replace(found, trigger="fuse", reason="the model is fuse/PRESET") if found.take else found
    return decide(preset.cadence, first=now.first, since=now.since, signals=now.signals, quiet=now.quiet)


def _why_never(served: Served) -> str | None:
    asked = served.asked
    if asked.preset is None:
        return "the model is no panel's (moa/PRESET)"
    if asked.depth:
        return "the request comes from inside of a panel"
    if asked.wanted == "off":
        return "the request asks for none"
    if asked.counsel_for == "none" and asked.wanted is None:
        return "counsel_for is none"
    if not served.reading.pieces or served.reading.pieces[-1].role == "assistant":
        return "it does not end with words or results for the model"
    if served.stored is not None:
        return "the endpoint keeps the conversation (previous_response_id), and a panel can't read it there"
    if asked.wanted is None and asked.counsel_for == "auto" and asked.fuse:
        return side_calls.why_own_shape(asked.body, served.reading, asked.client)
    if asked.wanted is None and asked.counsel_for == "auto":
        had_tools = partial(served.rows.had_tools, side_calls.program(asked.client), side_calls.TOOLS_WITHIN_S)
        return side_calls.why_side_call(asked.body, served.reading, asked.client, had_tools)
    return None


async def _counsel(served: Served, preset: Preset, decision: Decision, context: CallContext, emit: Emit) -> None:
    """Ask the panel, or wait for what it says to a request that is the same."""
    panels, rows = served.serving.panels, served.rows
    key = (rows.key, rows.upstream, served.path.node, served.reading.place, preset.name)
    last = served.path.rows[-1].taken if served.path.rows else ""
    advice, shared, council = await panels.share(
        key, lambda: _advice(served, panels.council(preset, last), decision, served.context(context), emit)
    )
    served.conversation = advice.conversation
    served.said = "reused" if shared else told(advice.facts)
    taken = str(advice.facts["id"])
    if council is not None:
        panels.keep(taken, council)
    try:
        await served.begin({**advice.facts, "begun": True}, advice.text, taken=taken)
    except BaseException:  # there is no row, with whose end they would be ended
        await panels.drop(taken)
        raise


async def _look_ahead(served: Served, preset: Preset, decision: Decision, context: CallContext, emit: Emit) -> None:
    """Send what is ready, wait for nothing, and take the next counsel while the reply is made."""
    panels = served.serving.panels
    of_turn = [row for row in served.path.rows if row.turn == served.standing.turn]
    sent = {(row.counsel or {}).get("id") for row in of_turn}
    ready = next((row.ahead for row in of_turn if row.ahead and row.ahead.get("id") not in sent), None)
    under_way = any(panels.is_ahead(row.taken) for row in of_turn)
    begins = decision.take and not under_way
    facts: dict[str, Any] = _skipped(decision) if ready is None else {**ready, "begun": False}
    if begins:
        facts["begun"] = True
    if ready is not None:
        served.said = told(ready)
    else:
        served.said = "pending" if begins or under_way else f"skipped; {decision.reason}"
    taken = str(ready["id"]) if ready is not None else new_id() if begins else ""
    await served.begin(facts, (ready or {}).get("text"), taken=taken)
    if not begins or (own := served.row) is None:
        return
    council = panels.council(preset, of_turn[-1].taken if of_turn else "")
    ledger = served.serving.ledger

    async def ahead() -> None:
        advice = await _advice(served, council, decision, served.context(context), emit, own=own)
        if (running := advice.claim()) is not None:
            panels.keep(taken, running)
        kept = {**advice.facts, "text": advice.text}
        await ledger.patiently(partial(served.rows.came_ahead, taken, kept), AFTER_S)

    panels.look_ahead(taken, ahead)


async def _advice(
    served: Served, panel: Council, decision: Decision, context: CallContext, emit: Emit, *, own: Row | None = None
) -> Advice:
    """Ask the panel, and decide what of its words goes out. `own`: the row of this very request, whose guidance is in force already."""
    try:
        return await _asked(served, panel, decision, context, emit, own)
    except BaseException:  # nobody gets the panel, whose late members would go on
        await panel.close()
        raise


async def _asked(
    served: Served, panel: Council, decision: Decision, context: CallContext, emit: Emit, own: Row | None
) -> Advice:
    main, preset, now = served.asked.main, panel.preset, served.standing
    messages, starts = history(served.reading, served.serving.redact)
    if served.asked.fuse:
        return await _fused(served, panel, decision, context, emit, messages)
    known = given(
        (*served.path.steps, *([served.step_of(own)] if own is not None else ())),
        messages,
        starts,
        bound=preset.guidance_tokens,
        window=panel.window(main),
    )
    lookup = _lookup(served, messages, context)
    counsel = await panel.take(
        messages,
        main=main,
        context=context,
        decision=decision,
        emit=emit,
        tools=preset.tools_at == "always" or (preset.tools_at == "first" and now.first),
        in_force=known.points,
        blockers_only=known.blockers_only,
        run_member=None if lookup is None else lookup.run,
    )
    found = delivery.decide(counsel, known, severity=preset.severity)
    text = guidance.delivered(counsel, found, known, turn=now.turn)
    return await _kept(served, panel, counsel, found, text, lookup, messages, context)


async def _kept(
    served: Served,
    panel: Council,
    counsel: Counsel,
    found: delivery.Delivery,
    text: str | None,
    lookup: Lookup | None,
    messages: Sequence[Message],
    context: CallContext,
) -> Advice:
    """What a panel said. The whole of it is kept, where counsels are."""
    turn = served.standing.turn
    if (saving := served.serving.saving) is not None:
        record = keep.full(counsel, iteration=context.iteration, turn=turn, guidance=text, receipt=None, delivery=found)
        await saving.keep(messages[: counsel.messages], record, context)
    facts = _facts(counsel, found, turn=turn) | _looked_up(lookup, panel.preset)
    return _advised(served, facts, text, panel if counsel.running else None)


def _lookup(served: Served, messages: Sequence[Message], context: CallContext) -> Lookup | None:
    lookups = served.serving.lookups
    return None if lookups is None else lookups.begin(messages, served.asked.main, context)


def _looked_up(lookup: Lookup | None, preset: Preset) -> dict[str, Any]:
    return {} if lookup is None else lookup.facts(preset)


def _advised(served: Served, facts: dict[str, Any], text: str | None, council: Council | None) -> Advice:
    """What a panel said, without configured keys: it goes to another endpoint, and is kept."""
    redact = served.serving.redact
    return Advice(clean_value(facts, redact), redact(text) if text else text, served.conversation, council)


async def _fused(
    served: Served, panel: Council, decision: Decision, context: CallContext, emit: Emit, messages: Sequence[Message]
) -> Advice:
    """Have the panel answer the question, and give all of it to the main model."""
    from moa.fuse import material

    main, now = served.asked.main, served.standing
    lookup = _lookup(served, messages, context)
    counsel = await panel.take(
        messages,
        main=main,
        context=context,
        decision=decision,
        emit=emit,
        tools=panel.preset.tools_at != "never",
        task=ANSWER,
        brief=served.serving.redact(side_calls.instructions_of(served.asked.body)),
        run_member=None if lookup is None else lookup.run,
    )
    text = material(counsel, window=panel.window(main), turn=now.turn)
    found = delivery.Delivery(withheld=None if text else "failed")
    return await _kept(served, panel, counsel, found, text, lookup, messages, context)


def told(facts: Mapping[str, Any]) -> str:
    """What became of a counsel, for `x-moa-counsel`."""
    withheld = facts.get("withheld")
    if withheld is None:
        return "taken"
    return "silent" if withheld == "silent" else f"withheld; {WITHHELD.get(withheld, withheld)}"


def _skipped(decision: Decision) -> dict[str, Any]:
    return {"taken": False, "trigger": decision.trigger, "reason": decision.reason}


def _facts(counsel: Counsel, found: delivery.Delivery, *, turn: int) -> dict[str, Any]:
    """A counsel as its row keeps it: what later counsels and receipts ask for. US dollars and seconds."""
    analysis = counsel.aggregation.analysis if counsel.aggregation is not None else None
    facts: dict[str, Any] = {
        "id": new_id(),
        "taken": True,
        "preset": counsel.preset,
        "trigger": counsel.decision.trigger,
        "reason": counsel.decision.reason,
        "turn": turn,
        "step": counsel.step,
        "withheld": found.withheld,
        "severity": None if counsel.grade == "nothing" else counsel.grade,
        "points": [point.claim for point in found.points],
        "asked": len(counsel.members),
        "answered": len(counsel.answers),
        "failed": [f"{failure.slot}: {failure.kind}" for failure in counsel.failures],
        "cost": {"usd": counsel.cost.usd, "lower_bound": counsel.cost.lower_bound},
        "duration_s": round(counsel.duration_s, 3),
    }
    if analysis is not None:
        facts["analysis"] = {"next_steps": list(analysis.next_steps)}
    if found.reminder is not None:
        facts["reminds"] = found.reminder.id
    return facts
