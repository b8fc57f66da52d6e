"""Counsel over one turn: when it is taken, what of it goes with which call, and what happens between."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from agent.events import Notice
from agent.loop.stuck import Stuck, Watch
from agent.plugin import Continue, Contribution
from moa.counsel import delivery, in_force
from moa.counsel.cadence import Decision, Receipts, Trigger, decide, decide_stop
from moa.counsel.counsel import Counsel
from moa.counsel.take import Council

if TYPE_CHECKING:
    from agent.events import Emit
    from agent.llm.accounting import CallContext
    from agent.llm.messages import ToolCallPart
    from agent.llm.request import ModelRef
    from agent.plugin import ModelCall, TurnState
    from agent.tools.base import ToolResult
    from moa.counsel.delivery import Delivery, InForce, Withheld

REPEATS = 3
"""So many times in a row the same call with the same result calls for counsel; twice is looking again."""


class TurnCounsel:
    """The state of one turn. Made when the turn begins, closed when it ends, whatever happens."""

    def __init__(self, council: Council, receipts: Receipts, turn: TurnState, emit: Emit) -> None:
        self.council = council
        self.latest: Counsel | None = None
        """The counsel taken last, whether or not it brought anything."""
        self.withholds = False
        """Whether nothing is sent in this turn, to learn what counsel is worth (`moa.trial`)."""
        self._receipts = receipts
        self._turn = turn
        self._emit = emit
        self._since = 0  # main-model calls since a counsel was begun
        self._signals: list[Trigger] = []
        self._wrote = False
        self._held = False
        self._review: Counsel | None = None  # taken on a draft, not sent yet
        self._watch = Watch()
        self._circles: set[str] = set()  # the ways in which it went in circles, each of them a reason for counsel
        self._told = False
        self._ahead: asyncio.Task[Counsel] | None = None
        self._quiet = in_force.quiet(turn.session, council.preset.name)

    # The hooks

    async def before_model(self, call: ModelCall) -> Contribution | None:
        """The guidance of a counsel that was taken for this call, and the entry that records it; between counsels nothing is repeated."""
        if self._review is not None:
            counsel, self._review = self._review, None
            return self._fresh(counsel, call)
        preset = self.council.preset
        first = self.latest is None and self._ahead is None
        decision = decide(
            preset.cadence, first=first, since=self._since, signals=tuple(self._signals), quiet=self._quiet
        )
        self._since += 1
        if preset.lookahead and not first:
            return self._ahead_of(call, decision)
        if not decision.take:
            self._skipped(call, decision)
            return None
        self._begin()
        return self._fresh(await self._take(call, decision, first=first), call)

    def after_tool(self, call: ToolCallPart, result: ToolResult) -> None:
        """Note what happened, for the cadence `signal`."""
        if result.may_change and not result.could_not_run:
            self._wrote = True
        if result.could_not_run and "tool_error" not in self._signals:
            self._signals.append("tool_error")
        if self._signals:
            self._quiet = 0  # something happened: the panel is asked at each step again
        failed = result.could_not_run
        sign = self._watch.saw(call.name, call.arguments, result.text, is_error=failed, change=result.change)
        if sign is not None and (sign.kind != "same_result" or sign.times >= REPEATS):
            self._in_circles(sign)

    def _in_circles(self, sign: Stuck) -> None:
        """Counsel first; where that was taken and the circle goes on, the user is told."""
        self._quiet = 0
        if sign.kind not in self._signals:
            self._signals.append(sign.kind)
        if sign.kind in self._circles and self._since <= 1 and not self._told:
            self._told = True
            text = f"going in circles, in spite of counsel: {sign.words}"
            self._emit(Notice(source="moa", level="warning", code="stuck", text=text))
        self._circles.add(sign.kind)

    async def before_stop(self, turn: TurnState, context: CallContext) -> Continue | None:
        """Hold a draft back for review, once a turn, where the cadence asks for it."""
        decision = decide_stop(self.council.preset.cadence, wrote=self._wrote, held=self._held)
        if not decision.take or self.latest is None or turn.reply is None:
            return None
        self._held = True
        self._begin()
        history = turn.history[:-1] if turn.history and turn.history[-1] == turn.reply else turn.history
        counsel = await self.council.take(
            history,
            main=self.latest.main,
            context=context,
            decision=decision,
            emit=self._emit,
            draft=turn.reply.text,
            tools=self.council.preset.tools_at == "always",
            **self._known(self.latest.main),
        )
        self.latest = counsel
        found = self._delivery(counsel, self._in_force(counsel.main))
        if found.withheld is not None:  # nothing is sent, for whatever reason: the draft stands
            self._unsent(counsel, found)
            return None
        self._review = counsel
        return Continue(supersede=True, reason="held back for counsel: the turn wrote something since the last one")

    async def close(self) -> None:
        """The turn is over: what still runs is cancelled, and what was taken and never sent is recorded all the same."""
        unsent = [counsel for counsel in (self._review,) if counsel is not None]
        if self._ahead is not None:
            task, self._ahead = self._ahead, None
            if not task.done():
                task.cancel()
            (ended,) = await asyncio.gather(task, return_exceptions=True)
            if isinstance(ended, Counsel):
                unsent.append(ended)
        await self.council.close()
        if (broken_off := self.council.broken_off) is not None:
            unsent.append(broken_off)
            self.council.broken_off = None
        for counsel in unsent:
            # It came too late for a call: that is why nothing was sent, unless there was nothing to send.
            why: Withheld | None = "failed" if not counsel.answers else None if counsel.speakers else "silent"
            self._unsent(counsel, delivery.Delivery(withheld=why))

    def _unsent(self, counsel: Counsel, found: Delivery) -> None:
        """Record a counsel that goes out with no call of its own."""
        from moa.counsel import keep  # when the calls are out: its classes take 10 ms to make

        keep.unsent(counsel, self._turn, self._receipts, found, self._emit)

    # Taking it

    def _begin(self) -> None:
        """A counsel looks at the state as it is now: what happened before belongs to the past."""
        self._since = 1
        self._signals.clear()
        self._wrote = False

    async def _take(self, call: ModelCall, decision: Decision, *, first: bool) -> Counsel:
        tools_at = self.council.preset.tools_at
        return await self.council.take(
            call.turn.history,
            main=call.model,
            context=call.context,
            decision=decision,
            emit=self._emit,
            tools=tools_at == "always" or (tools_at == "first" and first),
            **self._known(call.model),
        )

    def _in_force(self, main: ModelRef) -> InForce:
        """What the main model has before it now."""
        return in_force.read(
            self._turn.session,
            "moa",
            guidance_tokens=self.council.preset.guidance_tokens,
            window=self.council.window(main),
        )

    def _known(self, main: ModelRef) -> dict[str, Any]:
        """What members and aggregator are told of it. Where there is no room for more, the user is told, too, once."""
        now = self._in_force(main)
        if now.blockers_only and not self.council.told_full:
            self.council.told_full = True
            text = (
                f"guidance in force has reached its bound ({now.tokens} tokens; guidance_tokens in the preset, and a tenth of the window): "
                "from here on the panel is asked for blockers only; /compact frees it up"
            )
            self._emit(Notice(source="moa", level="info", code="guidance_full", text=text))
        return {"in_force": now.points, "blockers_only": now.blockers_only}

    def _ahead_of(self, call: ModelCall, decision: Decision) -> Contribution | None:
        """Lookahead: deliver what is ready, start on the present state, wait for nothing."""
        ready = None
        if self._ahead is not None and self._ahead.done():
            ready, self._ahead = self._ahead.result(), None
        if self._ahead is None and decision.take:
            self._begin()
            self._ahead = asyncio.create_task(self._take(call, decision, first=False), name="counsel ahead")
        if ready is not None:
            return self._fresh(ready, call)
        under_way = Decision(False, decision.trigger, "counsel is running and comes with a later call")
        self._skipped(call, under_way if decision.take else decision)
        return None

    # Sending it

    def _fresh(self, counsel: Counsel, call: ModelCall) -> Contribution:
        from moa.counsel import guidance, keep

        self.latest = counsel
        now = self._in_force(call.model)
        found = self._delivery(counsel, now)
        text = guidance.delivered(counsel, found, now, turn=self._turn.number)
        entry = keep.in_turn(
            counsel, self._turn, self._receipts, iteration=call.iteration, guidance=text, delivery=found
        )
        return Contribution(text, entry)

    def _delivery(self, counsel: Counsel, now: InForce) -> Delivery:
        found = delivery.decide(counsel, now, severity=self.council.preset.severity)
        nothing = found.withheld in in_force.QUIET or (found.withheld == "severity" and now.blockers_only)
        self._quiet = self._quiet + 1 if nothing else 0
        if self.withholds and found.withheld is None:
            return delivery.Delivery(withheld="worth")
        return found

    def _skipped(self, call: ModelCall, decision: Decision) -> None:
        from moa.counsel import keep

        receipt = self._receipts.skipped(self._turn.turn, call.iteration, decision)
        entry = keep.skipped(receipt, preset=self.council.preset.name)
        self._turn.session.add_record(entry, turn=self._turn.turn, iteration=call.iteration)
