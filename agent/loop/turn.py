"""One turn: the main model, its tools, and the hooks around them, as a stream of typed events."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any, Literal

from agent.errors import StateError, UsageError
from agent.events import (
    AgentEvent,
    Cost,
    ErrorInfo,
    ModelRetrying,
    Notice,
    SideFinished,
    TurnFinished,
    TurnStarted,
    TurnStatus,
)
from agent.hooks import Hooks
from agent.llm.accounting import CallContext
from agent.llm.errors import EmptyAnswer, ModelError
from agent.llm.messages import Message, user
from agent.llm.stream import Usage
from agent.loop.agent import Agent
from agent.loop.ending import INTERRUPTED, Rest, ending_of
from agent.loop.main_call import MainModel
from agent.outgoing import Outgoing
from agent.plugin import Continue, Ending, TurnState
from agent.session.seen import Watcher
from agent.text.numbers import plural

if TYPE_CHECKING:
    from agent.forms import Answer, Ask, Form

__all__ = ["Agent", "Turn"]

ASK_ON = "Your last reply was empty. Go on with the task, or answer."


class Turn:
    """One turn of an agent.

    `events()` is the stream; `cancel()` stops the work: sockets and children are closed within a second, the partial reply is kept
    and marked, and the stream ends in order with `turn_finished`.
    """

    def __init__(self, agent: Agent, prompt: str | Message, *, options: Mapping[str, Any] | None = None) -> None:
        self.agent = agent
        self.id = f"{agent.session.id}:{time.time_ns() // 1_000:x}"
        message = user(prompt) if isinstance(prompt, str) else prompt
        self.state = TurnState(
            session=agent.session,
            turn=self.id,
            run=agent.run,
            prompt=message,
            options=options or {},
            composed=agent.composed,
        )
        self._queue: asyncio.Queue[AgentEvent | None] = asyncio.Queue()
        self._outgoing = Outgoing(agent.redaction)
        self._watcher = Watcher()
        self._task: asyncio.Task[None] | None = None
        self._steered: list[Message] = []
        self._stop: Literal["no", "asked", "too late"] = "no"
        self._running = False
        self._hooks = Hooks(agent.plugins, self.state, self.emit)
        self._model = MainModel(agent, self.state, self._hooks, self.emit, self.unsent)
        self._rest = Rest()
        self._further: Continue | None = None
        self._asked_s = 0.0
        self.state.withdraw = self._withdraw
        self.others_wait: Callable[[], object] = lambda: False
        """Whether the user has said something that waits for the end of this turn; after a change of that, call `wake`."""

    @property
    def further(self) -> Continue | None:
        """What a plugin wants to begin a turn with next, after this one has ended and the user has nothing to say."""
        return self._further

    def wake(self) -> None:
        """The user has something to say: no wait is worth keeping it."""
        self._rest.wake()

    def _withdraw(self) -> None:
        self._further = None
        self._rest.wake()

    async def events(self) -> AsyncGenerator[AgentEvent, None]:
        """Run the turn. Every event of it, hooks' and tools' included, in order; the last is `turn_finished`."""
        self._task = asyncio.create_task(self._run())
        self._task.add_done_callback(lambda _task: self._queue.put_nowait(None))
        try:
            while (event := await self._queue.get()) is not None:
                yield event
                self._queue.task_done()
            self._task.result()
        finally:
            if not self._task.done():
                self._task.cancel()
                await asyncio.wait([self._task])

    def cancel(self) -> None:
        """Stop the turn, as Esc or Ctrl+C does."""
        if self._stop != "no":
            return  # a second one would cut short what the first has begun to close
        self._stop = "asked"
        if self._task is not None and self._running:
            self._task.cancel()

    def steer(self, message: Message) -> None:
        """Say something to the turn while it runs: it joins the history before the next call of the main model."""
        self._steered.append(message)
        self.wake()

    @property
    def steered(self) -> tuple[Message, ...]:
        """What `steer` was given and the turn has not taken up yet."""
        return tuple(self._steered)

    def unsent(self) -> list[Message]:
        """Take `steered` back: the turn forgets them."""
        waiting, self._steered = self._steered, []
        return waiting

    def asks_with(self, ask: Ask) -> None:
        """Plugins may ask the user (`TurnState.ask`) by this."""

        async def asked(form: Form) -> Answer:
            await self._queue.join()  # a question must not overtake what it is about
            since = time.monotonic()
            try:
                return await ask(form)
            finally:
                self._asked_s += time.monotonic() - since

        self.state.ask = asked

    def emit(self, event: AgentEvent) -> None:
        """Put an event into the turn's stream."""
        if isinstance(event, SideFinished):
            with suppress(StateError, UsageError):  # the turn's own next entry tells of a full disk
                self.agent.session.add_side(event, turn=self.id, iteration=self.state.iteration)
        for each in self._outgoing.events(event):
            if (entry := self._watcher.entry(each)) is not None:
                with suppress(StateError, UsageError):
                    self.agent.session.add_seen(entry)
            self._queue.put_nowait(each)

    async def _run(self) -> None:
        approvals = self.agent.tools.approvals
        started, asked = time.monotonic(), approvals.asked_s
        ending = INTERRUPTED
        try:
            self._running = True
            if self._stop == "asked":  # before the first step
                raise asyncio.CancelledError
            ending = await self._ended()
        except asyncio.CancelledError:
            self._further = None
        finally:
            self._stop = "too late"
            self.state.ending = ending
            await self._hooks.after_turn()
            if self.agent.late_tools is not None:
                self.agent.late_tools.turn_over()
        users = self._asked_s + approvals.asked_s - asked
        self.emit(self._finished(ending.status, ending.error, time.monotonic() - started - users))

    async def _ended(self) -> Ending:
        """Drive the turn to its end, and let plugins say what comes of it."""
        try:
            ending = await self._drive()
        except Exception as problem:
            ending = ending_of(problem, self.agent.crashed)
        ending, self._further = await self._hooks.next_turn(ending, self._context())
        if self._further is not None and (until := self._further.wait_until) is not None:
            await self._rest.until(until, lambda: self._further is None or self._steered or self.others_wait())
        return ending

    def _finished(self, status: TurnStatus, error: ErrorInfo | None, duration: float) -> TurnFinished:
        usage, cost = Usage(), Cost(usd=None, lower_bound=True)
        try:
            usage = self.agent.ledger.usage(turn=self.id)
            total = self.agent.ledger.total(turn=self.id)
            cost = Cost(usd=total.usd, lower_bound=total.lower_bound)
        except StateError as problem:
            if status != "usage":
                status = "failed"
            error = error or ErrorInfo(kind=problem.kind, message=problem.message, remedy=problem.remedy)
        if not isinstance(error, ErrorInfo) or error.kind != StateError.kind:
            try:
                self.agent.session.note("turn_finished", turn=self.id, status=status)
            except (StateError, UsageError) as problem:  # the disk is full, or another process has the session
                told = ErrorInfo(kind=problem.kind, message=problem.message, remedy=problem.remedy)
                status, error = (status, error) if status == "usage" else ("failed", told)
        return TurnFinished(
            turn=self.id,
            status=status,
            text=self._model.text,
            error=error,
            iterations=self.state.iteration,
            usage=usage,
            cost=cost,
            duration_s=duration,
        )

    async def _drive(self) -> Ending:
        agent, session, state = self.agent, self.agent.session, self.state
        self.emit(TurnStarted(session=session.id, turn=self.id, prompt=state.prompt))
        for notice in session.notices:
            self.emit(Notice(level="warning", code="session_damaged", text=notice))
        session.notices.clear()
        if lost := sum(side.get("outcome") == "answered" for side in session.newly_unrecorded()):
            text = f"the program was killed in mid-counsel; what was in by then is kept ({lost}): moa session show {session.id}"
            self.emit(Notice(level="info", code="side_work_kept", text=text))
        await self._hooks.before_turn()
        if agent.late_tools is not None:
            await agent.late_tools.before_request(self.emit)
        for notice in agent.begin(state.prompt, turn=self.id):
            self.emit(Notice(level="info", code="circumstances", text=notice))
        state.history, state.number = session.history(), session.turn_count()
        while state.iteration < agent.max_iterations:
            state.iteration += 1
            try:
                reply = await self._model.call(self._context())
            except EmptyAnswer as problem:
                if not self._ask_on(problem):
                    raise
                continue
            except ModelError as problem:
                if await self._goes_on(await self._hooks.model_failed(problem)):
                    continue
                raise
            if reply is None:  # the draft stands
                state.iteration -= 1
                return await self._done()
            if reply.message.tool_calls:
                await self._run_tools(reply.message)
                continue
            if not await self._goes_on(await self._hooks.before_stop(self._context()), stopping=True):
                return await self._done()
        told = f"stopped after {plural(agent.max_iterations, 'call')} of the main model"
        remedy = f"raise --max-iterations, or resume with --session {session.id}"
        return Ending("limit", ErrorInfo(kind="max_iterations", message=told, remedy=remedy))

    async def _done(self) -> Ending:
        await asyncio.to_thread(self.agent.session.sync)
        return Ending("done")

    def _ask_on(self, problem: EmptyAnswer) -> bool:
        """An empty reply behind tool results is answered once: with words that stay, since the same request would end the same way."""
        session = self.agent.session
        if problem.cut_off or session.sent()[-1].role != "tool":
            return False
        session.add(user(ASK_ON, synthetic="continuation"))
        self.state.history = session.history()
        self.emit(ModelRetrying(reason=problem.message, delay_s=0.0, adapted=True))
        return True

    # Tools

    async def _run_tools(self, message: Message) -> None:
        agent, state = self.agent, self.state
        kept: set[str | None] = set()

        def keep(result: Message) -> None:
            agent.session.add(result)
            kept.add(result.tool_call_id)

        try:
            run = agent.tools.run(message.tool_calls, self._hooks, self.emit, keep=keep)
            async with aclosing(run) as stream:
                async for _result in stream:
                    pass
        finally:
            # Stopped in the middle: a call without its result would make the whole conversation unsendable.
            for result in agent.tools.unfinished([call for call in message.tool_calls if call.id not in kept]):
                agent.session.add(result)
            state.history = agent.session.history()
        await asyncio.to_thread(agent.session.sync)

    # The end of a turn

    async def _goes_on(self, further: Continue | None, *, stopping: bool = False) -> bool:
        """Take up what a plugin wants; False where none wants anything."""
        session = self.agent.session
        if further is None:
            return False
        if further.supersede and stopping:
            self._model.hold(further.reason or "superseded")
        if further.message is not None:
            self._model.supersede()
            session.add(further.message)
        if further.wait_until is not None:
            await self._rest.until(further.wait_until, lambda: self._steered)
        self.state.history = session.history()
        return True

    def _context(self) -> CallContext:
        agent, state = self.agent, self.state
        return CallContext(
            "main", session=agent.books, run=agent.run, turn=self.id, iteration=state.iteration, caps=agent.caps
        )
