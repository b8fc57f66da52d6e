"""One turn: the main model, its tools, and the hooks around them, as a stream of typed events."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing, suppress
from dataclasses import replace
from typing import Any, Literal

from agent.agent import Agent
from agent.context import build_request
from agent.ending import INTERRUPTED, Rest, ending_of
from agent.errors import StateError, UsageError
from agent.events import (
    AgentEvent,
    Cost,
    DraftSuperseded,
    ErrorInfo,
    ModelFinished,
    ModelRetrying,
    ModelStarted,
    Notice,
    ReasoningDeltaEvent,
    SideFinished,
    Steered,
    TextDeltaEvent,
    TurnFinished,
    TurnStarted,
    TurnStatus,
)
from agent.gauge import counted, nearly_full
from agent.hooks import Hooks
from agent.llm.accounting import CallContext
from agent.llm.errors import ContextOverflow, ModelError
from agent.llm.messages import Message, Part, ReasoningPart, TextPart, user
from agent.llm.request import Request
from agent.llm.stream import Finished, ReasoningDelta, Reply, Retrying, TextDelta, Usage
from agent.plugin import Continue, Ending, ModelCall, TurnState

__all__ = ["Agent", "Turn"]


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
            session=agent.session, turn=self.id, run=agent.run, prompt=message, options=options or {}
        )
        self._queue: asyncio.Queue[AgentEvent | None] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None
        self._text = ""
        self._steered: list[Message] = []
        self._stop: Literal["no", "asked", "too late"] = "no"
        self._running = False
        self._hooks = Hooks(agent.plugins, self.state, self.emit)
        self._rest = Rest()
        self._further: Continue | None = None
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

    def emit(self, event: AgentEvent) -> None:
        """Put an event into the turn's stream."""
        if isinstance(event, SideFinished):
            with suppress(StateError, UsageError):  # the turn's own next entry tells of a full disk
                self.agent.session.add_side(event, turn=self.id, iteration=self.state.iteration)
        self._queue.put_nowait(event)

    async def _run(self) -> None:
        started = time.monotonic()
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
        self.emit(self._finished(ending.status, ending.error, time.monotonic() - started))

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
            text=self._text,
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
        for plugin in agent.plugins:
            await plugin.before_turn(state, self.emit)
        agent.begin()
        session.add(state.prompt, turn=self.id)
        state.history = session.history()
        while state.iteration < agent.max_iterations:
            state.iteration += 1
            try:
                reply = await self._call_model()
            except ModelError as problem:
                if await self._goes_on(await self._hooks.model_failed(problem)):
                    continue
                raise
            if reply.message.tool_calls:
                await self._run_tools(reply.message)
                continue
            if not await self._goes_on(await self._hooks.before_stop(self._context()), reply.message):
                await asyncio.to_thread(session.sync)
                return Ending("done")
        told = f"stopped after {agent.max_iterations} calls of the main model"
        remedy = f"raise --max-iterations, or go on with --session {session.id}"
        return Ending("limit", ErrorInfo(kind="max_iterations", message=told, remedy=remedy))

    # The model

    async def _call_model(self) -> Reply:
        agent, state = self.agent, self.state
        self._join_steered()
        await self._make_room("threshold")
        request = build_request(state.history, model=agent.model, tools=agent.tools.specs, max_tokens=agent.max_tokens)
        rounds = agent.client.facts(agent.model).tool_rounds
        if rounds is not None and state.iteration > rounds:
            request = replace(request, tool_choice="none")
        context = self._context()
        call = ModelCall(turn=state, request=request, context=context, iteration=state.iteration)
        advised = bool(self._hooks.those_with("before_model"))
        # The answer's own share is set aside before anybody gives advice on it: a panel can't spend the reply.
        hold = agent.client.hold(request, context, headroom_tokens=GUIDANCE_HEADROOM if advised else 0)
        try:
            tail = await self._hooks.before_model(call)
        except BaseException:
            agent.client.release(hold)
            raise
        if self._join_steered():  # said while counsel was taken: this call is the next
            request = replace(request, messages=tuple(state.history))
        request = replace(request, tail=tail)
        self.emit(ModelStarted(iteration=state.iteration, model=str(agent.model), guidance=tail))
        try:
            reply = await self._stream(request, context, hold)
        except ContextOverflow as problem:  # adapted once; a second one is the error that it is
            if not await self._make_room("overflow"):
                raise
            self.emit(ModelRetrying(reason=problem.message, delay_s=0.0, adapted=True))
            reply = await self._stream(replace(request, messages=tuple(state.history)), context, None)
        self._text = reply.message.text or self._text
        agent.session.add(reply.message, call_id=reply.call_id, tokens=counted(reply))
        state.history, state.reply = agent.session.history(), reply.message
        self.emit(
            ModelFinished(
                iteration=state.iteration,
                call_id=reply.call_id,
                message=reply.message,
                finish=reply.finish,
                model_served=reply.model_served,
                usage=reply.usage,
                cost=Cost(
                    usd=None if reply.cost_nano is None else reply.cost_nano / 1e9, lower_bound=reply.cost_nano is None
                ),
                ttft_s=reply.ttft_s,
                duration_s=reply.duration_s,
            )
        )
        if reply.finish == "length":
            text = "the answer was cut off at its limit of tokens (max_tokens in config.toml, or the model's own)"
            self.emit(Notice(level="warning", code="answer_cut_off", text=text))
        for plugin in agent.plugins:
            await plugin.after_model(call, reply, self.emit)
        return reply

    async def _make_room(self, reason: Literal["threshold", "overflow"]) -> bool:
        """Compact the conversation where the window is nearly full, or has overflowed. Whether that was done."""
        if reason == "threshold" and not nearly_full(self.agent):
            return False
        from agent.compaction import compact

        done = await compact(self.agent, self._context(), self.emit, reason=reason)
        self.state.history = self.agent.session.history()
        return done is not None

    def _join_steered(self) -> bool:
        messages = self.unsent()
        for message in messages:
            self.agent.session.add(message)
            self.emit(Steered(message=message))
        self.state.history = self.agent.session.history()
        return bool(messages)

    async def _stream(self, request: Request, context: CallContext, hold: Any) -> Reply:
        text: list[str] = []
        reasoning: list[str] = []
        try:
            async with aclosing(self.agent.client.stream(request, context, hold=hold)) as stream:
                async for event in stream:
                    match event:
                        case TextDelta():
                            text.append(event.text)
                            self.emit(TextDeltaEvent(text=event.text))
                        case ReasoningDelta():
                            reasoning.append(event.text)
                            self.emit(ReasoningDeltaEvent(text=event.text))
                        case Retrying():
                            self.emit(ModelRetrying(reason=event.reason, delay_s=event.delay_s, adapted=event.adapted))
                        case Finished():
                            return event.reply
                        case _:
                            pass
        except (Exception, asyncio.CancelledError) as error:
            # What the user has read stays in the conversation, marked as what it is. A half-written tool call does not.
            partial = error.partial if isinstance(error, ModelError) else None
            if not "".join(text).strip() and partial is not None:  # it came with the error, in one piece
                text, reasoning = [partial.text], [partial.reasoning]
            self._keep_partial("".join(text), "".join(reasoning))
            raise
        raise AssertionError("a call ended without Finished or an error")

    def _keep_partial(self, text: str, reasoning: str) -> None:
        if not text.strip():
            return
        parts: tuple[Part, ...] = (TextPart(text=text),)
        if reasoning:
            parts = (ReasoningPart(text=reasoning), *parts)
        message = Message(role="assistant", parts=parts, origin=str(self.agent.model), incomplete=True)
        self._text = message.text
        self.agent.session.add(message)

    # Tools

    async def _run_tools(self, message: Message) -> None:
        agent, state = self.agent, self.state
        kept: set[str | None] = set()

        def keep(result: Message) -> None:
            agent.session.add(result)
            kept.add(result.tool_call_id)

        try:
            run = agent.tools.run(message.tool_calls, state, agent.plugins, self.emit, keep=keep)
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

    async def _goes_on(self, further: Continue | None, reply: Message | None = None) -> bool:
        """Take up what a plugin wants; False where none wants anything."""
        session = self.agent.session
        if further is None:
            return False
        if further.supersede and reply is not None:
            session.rewind(session.parent_of_head(), reason=further.reason or "superseded")
            self.emit(DraftSuperseded(message=reply, reason=further.reason))
        if further.message is not None:
            session.add(further.message)
        if further.wait_until is not None:
            await self._rest.until(further.wait_until, lambda: self._steered)
        self.state.history = session.history()
        return True

    def _context(self) -> CallContext:
        agent, state = self.agent, self.state
        return CallContext(
            "main", session=agent.session.id, run=agent.run, turn=self.id, iteration=state.iteration, caps=agent.caps
        )


GUIDANCE_HEADROOM = 3_000
"""Tokens set aside in the main call's reservation for guidance that is not written yet."""
