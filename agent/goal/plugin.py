"""The `/goal` plugin: hooks that watch the turns of a goal, judge them, and ask for the next one.

It is a plugin like anybody's. Nothing beyond this page is imported before there is a goal: a run without one pays for none.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from agent.commands import Command
from agent.goal.pursuit import NAME, Pursuit
from agent.plugin import Continue, Contribution, Ending

if TYPE_CHECKING:
    from agent.commands import CommandContext, Result
    from agent.events import Emit
    from agent.goal.engine import Decision, Finding
    from agent.goal.state import GoalState
    from agent.llm.accounting import CallContext
    from agent.llm.errors import ModelError
    from agent.llm.messages import ToolCallPart
    from agent.llm.stream import Reply
    from agent.plugin import ModelCall, PluginHost, TurnState
    from agent.tools.base import ToolResult

LONGEST_RETRY_S = 900.0
STOPPED = "you stopped it"


def make(host: PluginHost) -> Goal:
    """The plugin, as the entry point `agent.plugins` names it. Raises UsageError for a wrong `[goal]` section."""
    return Goal(host)


class Goal(Pursuit):
    """The hooks that watch the turns of a goal."""

    records = (NAME,)
    carries_over = False

    def __init__(self, host: PluginHost) -> None:
        super().__init__(host)
        self._emit: Emit | None = None
        self._out_of_budget = ""

    # What it offers

    def commands(self) -> Sequence[Command]:
        """`/goal`."""
        return (
            Command(
                name=NAME,
                summary="work on something, turn after turn, until a judge finds that it is done (bare: its status)",
                run=self._command,
                args_hint="[TEXT | set TEXT | pause | resume | clear | budget … | gate … | criteria … | judge … | history]",
                busy_when=self._may_run_busy,
                complete=self._complete,
            ),
        )

    async def _command(self, context: CommandContext, args: str) -> Result:
        from agent.goal.commands import run

        return await run(self, context, args)

    def _may_run_busy(self, args: str) -> bool:
        from agent.goal.grammar import may_run_busy

        return may_run_busy(args)

    def _complete(self, typed: str) -> Iterable[str]:
        from agent.goal.commands import complete

        return complete(self, typed)

    def status(self) -> str | None:
        """`goal 3/20`, while it is active."""
        state = self.state
        if state is None or not state.active:
            return None
        used = state.used.turns
        words = f"goal {used}/{state.budget.turns}" if state.budget.turns else f"goal {used}"
        if self.waits_until is not None:
            words += time.strftime(" waits until %H:%M", time.localtime(self.waits_until))
        return words

    def unattended(self) -> bool:
        """While it is active one turn follows another, and nobody may be watching: `--approve all` then means inside the sandbox."""
        return self.state is not None and self.state.active

    def greeting(self) -> str | None:
        """That there is a goal which is not met."""
        if self.state is None or self.state.status != "paused":
            return None
        return f"there is a goal, paused ({self.state.reason or 'by you'}): {_short(self.state.text)} · /goal resume continues"

    def keep_in_summary(self) -> str | None:
        """The goal and its criteria, word for word."""
        if self.state is None or self.state.status == "done":
            return None
        criteria = "".join(f"\n- {one}" for one in self.state.criteria)
        return f"The goal that is being worked on: {self.state.text}{criteria}"

    # The hooks

    async def before_turn(self, turn: TurnState, emit: Emit) -> None:
        """A turn of the goal begins. Its id goes to the disk first: what it costs is known even if the program is killed."""
        self.turn, self.waits_until, self._out_of_budget, self._emit = turn, None, "", emit
        state = self.state
        if state is None:
            return
        if not state.active:
            self._refuse_stale(turn)
            return
        state = replace(self._settle(state), turn=turn.turn)
        self.since = time.time()
        self.set(state)
        if self.watch is None:
            from agent.goal.watch import TurnWatch

            self.watch = TurnWatch()
        self.watch.begin()

    def _settle(self, state: GoalState) -> GoalState:
        """The state with what its last turn has cost in it, and no turn under way."""
        return replace(state, spent=self.total(), turn="")

    def _refuse_stale(self, turn: TurnState) -> None:
        """A pause that came between two turns, after the next one had been asked for."""
        if turn.prompt.synthetic == "continuation":
            from agent.errors import UsageError

            raise UsageError("the goal is no longer active", remedy="/goal resume continues", kind="goal_paused")

    def advises(self) -> bool:
        """It stops a turn, and says nothing to the model."""
        return False

    async def before_model(self, call: ModelCall, emit: Emit) -> Contribution | None:
        """Keeps what can run out in the middle of a turn. Raises BudgetReached."""
        self.model = call.model
        state = self._at_work(call.turn)
        if state is None or (state.budget.seconds, state.budget.tokens, state.budget.nano) == (None, None, None):
            return None
        reached = state.budget.reached_within(self.total() - state.granted)
        if reached:
            from agent.llm.errors import BudgetReached

            self._out_of_budget = reached
            told = f"the goal's budget is used up ({reached})"
            raise BudgetReached(told, cap="/goal budget", remedy="/goal budget MORE, then /goal resume")
        return None

    async def after_model(self, call: ModelCall, reply: Reply, emit: Emit) -> None:
        """An outage is over."""
        state = self._at_work(call.turn)
        if state is not None and state.strikes.outages:
            self.set(replace(state, strikes=replace(state.strikes, outages=0)))

    async def after_tool(self, turn: TurnState, call: ToolCallPart, result: ToolResult) -> None:
        """One more line of the record."""
        if self.watch is not None and self._at_work(turn) is not None:
            self.watch.saw(call, result)

    async def model_failed(self, turn: TurnState, problem: ModelError, emit: Emit) -> Continue | None:
        """An outage is waited for, within limits: a goal is what is left alone."""
        state = self._at_work(turn)
        if state is None or not problem.retryable or state.strikes.outages >= self.settings.retries:
            return None
        from agent.goal.pause import after_outage

        outages = state.strikes.outages
        seconds = min(self.settings.retry_s * 2**outages, LONGEST_RETRY_S)
        seconds = max(seconds, problem.retry_after or 0.0)
        limit = state.budget.seconds
        if limit is not None and (self.total() - state.granted).seconds + seconds > limit:
            return None
        self.set(replace(state, strikes=replace(state.strikes, outages=outages + 1)))
        self.waits_until = time.time() + seconds
        return after_outage(turn, problem, self.waits_until, outages + 1, self.settings.retries, emit)

    async def next_turn(
        self, turn: TurnState, ending: Ending, context: CallContext, emit: Emit
    ) -> Continue | Ending | None:
        """Judge the turn, and say what follows from it."""
        self.waits_until = None
        if self._at_work(turn) is None:
            return None
        from agent.goal import pause

        if self._out_of_budget:
            return self._stop(pause.out_of_budget(self._out_of_budget), emit)
        if ending.status not in ("done", "limit"):
            return self._stop(pause.broken_off(ending), emit, keep=True)
        from agent.goal.verdict import find

        finding = await find(self, turn, ending, context, emit)
        if self.state is None or not self.state.active:  # paused or cleared while it was judged
            return None
        from agent.goal.engine import decide

        state, decision = decide(self.state, finding)
        self.set(replace(state, spent=replace(state.spent, turns=finding.spent.turns)))
        return self._follow(turn, ending, decision, finding, emit)

    async def after_turn(self, turn: TurnState) -> None:
        """The user stopped it: the goal stands still until they say otherwise. The bill is settled in any case."""
        self.waits_until = None
        if self._at_work(turn) is not None and turn.ending is not None and turn.ending.status == "interrupted":
            assert self.state is not None
            self.set(self.state.paused(STOPPED))
            if self._emit is not None:
                from agent.goal.pause import tell_paused

                tell_paused(STOPPED, self._emit)
        if self.state is not None and self.state.turn == turn.turn:
            state = replace(self.state, spent=replace(self.state.spent, seconds=self.total().seconds))
            self.since = 0.0
            self.set(state)
        self.turn = None

    # What follows

    def _at_work(self, turn: TurnState) -> GoalState | None:
        """The goal, where it is active and this turn is one of its own."""
        state = self.state
        return state if state is not None and state.active and state.turn == turn.turn else None

    def _follow(
        self, turn: TurnState, ending: Ending, decision: Decision, finding: Finding, emit: Emit
    ) -> Continue | Ending | None:
        from agent.goal import pause
        from agent.llm.messages import user

        assert self.state is not None
        pause.keep(turn, decision.as_json(self.state, finding), emit)
        pause.tell(decision, finding.spent.turns, self.state.budget.turns, emit)
        if decision.kind == "done":
            return Ending("done") if ending.status != "done" else None
        if not decision.goes_on:
            return pause.unmet(decision)
        if decision.kind == "wait":
            self.waits_until = time.time() + decision.wait_s
        return Continue(
            user(decision.message, synthetic="continuation"), wait_until=self.waits_until, reason=decision.reason
        )

    def _stop(self, decision: Decision, emit: Emit, *, keep: bool = False) -> Ending | None:
        """Pause without a verdict. `keep`: the turn's own ending says what happened."""
        from agent.goal import pause
        from agent.goal.engine import Finding

        assert self.state is not None and self.turn is not None
        self.set(self.state.paused(decision.reason))
        pause.keep(self.turn, decision.as_json(self.state, Finding(self.total())), emit)
        if not keep:
            return pause.unmet(decision)
        pause.tell_paused(decision.reason, emit)
        return None


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 80 else line[:79] + "…"
