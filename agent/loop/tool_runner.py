"""Running the tool calls of one reply: read-only ones side by side, the others one after another, results in the order of the calls."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from agent import events
from agent.errors import StateError
from agent.llm.messages import Message, ToolCallPart, tool_result
from agent.tools.base import Tool, ToolContext, ToolError, ToolResult
from agent.tools.lib.validate import validate

if TYPE_CHECKING:
    from agent.approval.approval import Approvals
    from agent.events import Emit
    from agent.hooks import Hooks
    from agent.llm.request import ToolSpec
    from agent.tools.base import Kind


class ToolRunner:
    """A set of tools, the context they share, and what may run without asking."""

    def __init__(self, tools: Sequence[Tool], context: ToolContext, approvals: Approvals) -> None:
        self.tools = {tool.spec.name: tool for tool in tools}
        self.context = context
        self.approvals = approvals
        self.listed: tuple[ToolSpec, ...] = ()
        """The list that the conversation was begun with (`agent.context.opening`); empty: the tools as they are."""

    @property
    def specs(self) -> tuple[ToolSpec, ...]:
        """The tools as a model sees them: all of them, whatever may run now, always in the same order.

        A list that changed with the mode would change the beginning of every request; what may not run is refused when it is called.
        """
        return self.listed or tuple(tool.spec for tool in self.tools.values())

    def only(self, names: Sequence[str]) -> ToolRunner:
        """The same runner with some of its tools."""
        return ToolRunner([self.tools[name] for name in names if name in self.tools], self.context, self.approvals)

    def with_tools(self, more: Sequence[Tool]) -> ToolRunner:
        """The same runner with more tools."""
        return ToolRunner([*self.tools.values(), *more], self.context, self.approvals)

    async def run(
        self,
        calls: Sequence[ToolCallPart],
        hooks: Hooks | None,
        emit: Emit,
        *,
        keep: Callable[[Message], object] = lambda _result: None,
    ) -> AsyncGenerator[Message, None]:
        """Run the calls and yield a tool message for each, in order. Closing the iterator cancels what still runs.

        `keep` is given each of these messages as soon as there is one, in whatever order, and before `emit` tells anybody.
        """
        for batch in self._batches(calls):
            tasks = [asyncio.create_task(self._one(call, hooks, emit, keep)) for call in batch]
            try:
                for task in tasks:
                    yield await task
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    def kind(self, name: str) -> Kind:
        """How calls of a tool are drawn, whether or not it is still there."""
        tool = self.tools.get(name)
        return "other" if tool is None else tool.kind

    def _missing(self, name: str) -> str:
        if any(spec.name == name for spec in self.listed):
            return f"The tool {name!r} is not there in this session of the program. Go on without it."
        return f"There is no tool {name!r}. There are: {', '.join(self.tools)}."

    def unfinished(self, calls: Sequence[ToolCallPart]) -> list[Message]:
        """Results for calls that never came to an end."""
        return [tool_result(call, "Stopped by the user before it finished.", is_error=True) for call in calls]

    def _batches(self, calls: Sequence[ToolCallPart]) -> list[list[ToolCallPart]]:
        batches: list[list[ToolCallPart]] = []
        previous = False
        for call in calls:
            tool = self.tools.get(call.name)
            parallel = tool is None or tool.read_only
            if batches and parallel and previous:
                batches[-1].append(call)
            else:
                batches.append([call])
            previous = parallel
        return batches

    async def _one(
        self,
        call: ToolCallPart,
        hooks: Hooks | None,
        emit: Emit,
        keep: Callable[[Message], object],
    ) -> Message:
        outcome, result, took = await self._attempt(call, hooks, emit)
        redact = self.context.redact
        result = replace(result, text=redact(result.text), diff=result.diff and redact(result.diff))
        message = tool_result(call, result.text, is_error=result.is_error)
        keep(message)
        emit(events.ToolFinished(call=call, outcome=outcome, text=result.text, diff=result.diff, duration_s=took))
        if hooks is not None:
            await hooks.after_tool(call, result)
        return message

    async def _attempt(self, call: ToolCallPart, hooks: Hooks | None, emit: Emit) -> tuple[Any, ToolResult, float]:
        """The outcome, the result, and the seconds that the tool ran: without those in which the user read the question."""
        tool = self.tools.get(call.name)
        if tool is None:
            return "error", ToolResult(self._missing(call.name), is_error=True), 0.0
        try:
            arguments = validate(call.arguments, tool.spec)
        except ToolError as error:
            return "error", ToolResult(str(error), is_error=True), 0.0
        if hooks is not None and (verdict := await hooks.before_tool(call)):
            return "denied", ToolResult(verdict.deny, is_error=True), 0.0
        guard = self.context.guard
        # A foreign tool has one name for rules, whichever way it is called.
        subject = tool.subject(arguments)
        named = call if subject.tool == call.name else replace(call, name=subject.tool)
        if guard is not None and (why := await guard.before_tool(named, subject, self.context, emit)) is not None:
            return "denied", ToolResult(why, is_error=True), 0.0
        decision = await self.approvals.decide(tool, call, arguments, self.context)
        if not decision.allowed:
            return "denied", ToolResult(decision.reason, is_error=True), 0.0
        if decision.told:
            code = "rule_not_kept" if decision.by == "user" else "read_outside"
            emit(events.Notice(level="warning", code=code, text=decision.told))
        emit(events.ToolStarted(call=call, title=tool.title(arguments)))
        turn_id = self.context.turn if hooks is None else hooks.turn
        context = replace(
            self.context,
            progress=_reporter(call.id, emit),
            turn=turn_id,
            emit=emit,
            seen_by_user=decision.by == "user",
            allowed=decision.place,
        )
        started = time.monotonic()
        try:
            result = await tool.run(context, arguments)
        except ToolError as error:
            result = ToolResult(str(error), is_error=True)
        except (StateError, asyncio.CancelledError):
            raise
        except OSError as error:
            result = ToolResult(f"{call.name} failed: {error}", is_error=True)
        took = time.monotonic() - started
        if guard is not None and (said := await guard.after_tool(named, subject, result, self.context, emit)):
            result = replace(result, text=f"{result.text}\n{said}")
        result = replace(result, may_change=tool.may_change(arguments), change=tool.change(arguments))
        return "error" if result.is_error else "ok", result, took


def _reporter(call_id: str, emit: Emit) -> Callable[[str], None]:
    return lambda text: emit(events.ToolProgress(id=call_id, text=text))
