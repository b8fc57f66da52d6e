"""Counsel over one turn: when it is taken, what of it goes with which call, and what happens between."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from agent.events import Notice
from agent.plugin import Continue, Contribution
from agent.stuck import Stuck, Watch
from moa import record
from moa.cadence import Decision, Receipt, Receipts, Trigger, decide, decide_stop, form
from moa.council import Council
from moa.counsel import Counsel

if TYPE_CHECKING:
    from agent.events import Record
    from agent.llm.accounting import CallContext
    from agent.llm.messages import ToolCallPart
    from agent.plugin import Emit, ModelCall, TurnState
    from agent.tools.base import ToolResult

# Tools that change nothing. Any other counts as writing: a shell command or a foreign tool may, and one counsel too many before the end
# of a turn costs less than one too few.
LOOKING = frozenset({"read", "glob", "grep", "web_search", "web_fetch", "consult"})


class TurnCounsel:
    """The state of one turn. Made when the turn begins, closed when it ends, whatever happens."""

    def __init__(self, council: Council, receipts: Receipts, turn: TurnState, emit: Emit) -> None:
        self.council = council
        self.latest: Counsel | None = None
        """The counsel taken last, whether or not it brought anything."""
        self._receipts = receipts
        self._turn = turn
        self._emit = emit
        self._force: Counsel | None = None  # whose guidance is in force
        self._sent = 0  # calls it has gone out with
        self._results = 0  # tool results in this turn
        self._mark = 0  # how many of them were there when the guidance in force was taken
        self._since = 0  # main-model calls since a counsel was begun
        self._signals: list[Trigger] = []
        self._wrote = False
        self._held = False
        self._review: Counsel | None = None  # taken on a draft, not sent yet
        self._watch = Watch()
        self._circles: set[str] = set()  # the ways in which it went in circles, each of them a reason for counsel
        self._told = False
        self._ahead: asyncio.Task[Counsel] | None = None
        self._ahead_mark = 0

    # The hooks

    async def before_model(self, call: ModelCall) -> Contribution:
        """The guidance for a call, fresh or aged, and the entry that records it."""
        if self._review is not None:
            counsel, self._review = self._review, None
            return self._fresh(counsel, call, self._results)
        preset = self.council.preset
        first = self.latest is None and self._ahead is None
        decision = decide(preset.cadence, first=first, since=self._since, signals=tuple(self._signals))
        self._since += 1
        if preset.lookahead and not first:
            return self._ahead_of(call, decision)
        if not decision.take:
            return self._replay(call, decision)
        self._begin()
        counsel = await self._take(call, decision, first=first)
        return self._fresh(counsel, call, self._results)

    def after_tool(self, call: ToolCallPart, result: ToolResult) -> None:
        """Note what happened, for the cadence `signal` and for the age of guidance."""
        self._results += 1
        if call.name not in LOOKING and not result.is_error:
            self._wrote = True
        if result.is_error and "tool_error" not in self._signals:
            self._signals.append("tool_error")
        if sign := self._watch.saw(call.name, call.arguments, result.text, is_error=result.is_error):
            self._in_circles(sign)

    def _in_circles(self, sign: Stuck) -> None:
        """Counsel first; where that was taken and the circle goes on, the user is told."""
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
        )
        self.latest = counsel
        if not counsel.answers:  # nobody had anything to say about it: it stands
            receipt = self._receipts.taken(turn.turn, counsel.step, decision, counsel.cost, counsel.duration_s)
            self.keep(record.full(counsel, iteration=counsel.step, guidance=None, receipt=receipt), counsel.step)
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
            receipt = self._receipts.taken(
                self._turn.turn, counsel.step, counsel.decision, counsel.cost, counsel.duration_s
            )
            self.keep(record.full(counsel, iteration=counsel.step, guidance=None, receipt=receipt), counsel.step)

    def keep(self, entry: Record, iteration: int) -> None:
        """Record a counsel that goes out with no call of its own."""
        self._turn.session.add_record(entry, turn=self._turn.turn, iteration=iteration)
        self._emit(entry)

    # Taking it

    def _begin(self) -> None:
        """A counsel looks at the state as it is now: what happened before belongs to the past."""
        self._since = 1
        self._signals.clear()
        self._wrote = False

    async def _take(self, call: ModelCall, decision: Decision, *, first: bool) -> Counsel:
        tools_at = self.council.preset.tools_at
        return await self.council.take(
            call.request.messages,
            main=call.request.model,
            context=call.context,
            decision=decision,
            emit=self._emit,
            tools=tools_at == "always" or (tools_at == "first" and first),
        )

    def _ahead_of(self, call: ModelCall, decision: Decision) -> Contribution:
        """Lookahead: deliver what is ready, start on the present state, wait for nothing."""
        ready, mark = None, self._ahead_mark
        if self._ahead is not None and self._ahead.done():
            ready, self._ahead = self._ahead.result(), None
        if self._ahead is None and decision.take:
            self._begin()
            self._ahead_mark = self._results
            self._ahead = asyncio.create_task(self._take(call, decision, first=False), name="counsel ahead")
        if ready is not None:
            return self._fresh(ready, call, mark)
        under_way = Decision(False, decision.trigger, "counsel is under way and comes with a later call")
        return self._replay(call, under_way if decision.take else decision)

    # Sending it

    def _fresh(self, counsel: Counsel, call: ModelCall, mark: int) -> Contribution:
        receipt = self._receipts.taken(
            self._turn.turn, call.iteration, counsel.decision, counsel.cost, counsel.duration_s
        )
        self.latest = counsel
        if counsel.answers:
            self._force, self._sent, self._mark = counsel, 0, mark
        text = self._text(call.iteration)
        if counsel.draft is not None and counsel.answers and text is not None:
            text = f"{_held_back(counsel.draft)}\n\n{text}"
        entry = record.full(counsel, iteration=call.iteration, guidance=text, receipt=receipt)
        return Contribution(text, entry)

    def _replay(self, call: ModelCall, decision: Decision) -> Contribution:
        receipt = self._receipts.skipped(self._turn.turn, call.iteration, decision)
        if self._force is None:
            return Contribution(None, self._none(call, receipt))
        how = form(self._sent)
        text = self._text(call.iteration)
        entry = record.replayed(self._force, iteration=call.iteration, form=how, guidance=text, receipt=receipt)
        return Contribution(text, entry)

    def _none(self, call: ModelCall, receipt: Receipt) -> Record | None:
        """No guidance is in force: the last counsel failed. Its own entry has said so; the receipt alone would add nothing."""
        if self.latest is None:
            return None
        return record.replayed(self.latest, iteration=call.iteration, form="none", guidance=None, receipt=receipt)

    def _text(self, step: int) -> str | None:
        if self._force is None:
            return None
        brief = form(self._sent) == "line"
        self._sent += 1
        return self._force.guidance(step=step, results_since=self._results - self._mark, brief=brief)


def _held_back(draft: str) -> str:
    """The main model's own draft, which is no longer in its history."""
    from moa.quoting import fence

    return (
        "Before it went to the user, your last reply was held back and reviewed. It is not in the conversation; this was it:\n"
        f"{fence(draft)}\n"
        "Now either send it (write it again, changed where the review below convinced you) or go on working."
    )
