"""Running the tool calls of one reply: read-only ones side by side, the others one after another, results in the order of the calls."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from agent import events
from agent.errors import StateError
from agent.llm.messages import Message, ToolCallPart, tool_result
from agent.tools.base import Tool, ToolContext, ToolError, ToolResult
from agent.tools.validate import validate

if TYPE_CHECKING:
    from agent.approval import Approvals
    from agent.llm.request import ToolSpec
    from agent.plugin import Emit, Plugin, TurnState


class ToolRunner:
    """A set of tools, the context they share, and what may run without asking."""

    def __init__(self, tools: Sequence[Tool], context: ToolContext, approvals: Approvals) -> None:
        self.tools = {tool.spec.name: tool for tool in tools}
        self.context = context
        self.approvals = approvals

    @property
    def specs(self) -> tuple[ToolSpec, ...]:
        """The tools as a model sees them, always in the same order. What is sure to be refused is not offered (mode deny)."""
        tools: Iterable[Tool] = self.tools.values()
        if self.approvals.mode == "deny":
            tools = [tool for tool in tools if tool.read_only]
        return tuple(tool.spec for tool in tools)

    def only(self, names: Sequence[str]) -> ToolRunner:
        """The same runner with some of its tools."""
        return ToolRunner([self.tools[name] for name in names if name in self.tools], self.context, self.approvals)

    async def run(
        self,
        calls: Sequence[ToolCallPart],
        turn: TurnState | None,
        plugins: Sequence[Plugin],
        emit: Emit,
        *,
        keep: Callable[[Message], object] = lambda _result: None,
    ) -> AsyncGenerator[Message, None]:
        """Run the calls and yield a tool message for each, in order. Closing the iterator cancels what still runs.

        `keep` is given each of these messages as soon as there is one, in whatever order, and before `emit` tells anybody.
        """
        for batch in self._batches(calls):
            tasks = [asyncio.create_task(self._one(call, turn, plugins, emit, keep)) for call in batch]
            try:
                for task in tasks:
                    yield await task
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

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
        turn: TurnState | None,
        plugins: Sequence[Plugin],
        emit: Emit,
        keep: Callable[[Message], object],
    ) -> Message:
        started = time.monotonic()
        outcome, result = await self._attempt(call, turn, plugins, emit)
        message = tool_result(call, result.text, is_error=result.is_error)
        keep(message)
        emit(
            events.ToolFinished(
                call=call, outcome=outcome, text=result.text, diff=result.diff, duration_s=time.monotonic() - started
            )
        )
        if turn is not None:
            for plugin in plugins:
                await plugin.after_tool(turn, call, result)
        return message

    async def _attempt(
        self, call: ToolCallPart, turn: TurnState | None, plugins: Sequence[Plugin], emit: Emit
    ) -> tuple[Any, ToolResult]:
        tool = self.tools.get(call.name)
        if tool is None:
            names = ", ".join(self.tools)
            return "error", ToolResult(f"There is no tool {call.name!r}. There are: {names}.", is_error=True)
        try:
            arguments = validate(call.arguments, tool.spec)
        except ToolError as error:
            return "error", ToolResult(str(error), is_error=True)
        if turn is not None:
            for plugin in plugins:
                if verdict := await plugin.before_tool(turn, call):
                    return "denied", ToolResult(verdict.deny, is_error=True)
        decision = await self.approvals.decide(tool, call, arguments, self.context)
        if not decision.allowed:
            return "denied", ToolResult(decision.reason, is_error=True)
        emit(events.ToolStarted(call=call, title=tool.title(arguments)))
        turn_id = self.context.turn if turn is None else turn.turn
        context = replace(self.context, progress=_reporter(call.id, emit), turn=turn_id, emit=emit)
        try:
            result = await tool.run(context, arguments)
        except ToolError as error:
            return "error", ToolResult(str(error), is_error=True)
        except (StateError, asyncio.CancelledError):
            raise
        except OSError as error:
            return "error", ToolResult(f"{call.name} failed: {error}", is_error=True)
        return "error" if result.is_error else "ok", result


def _reporter(call_id: str, emit: Emit) -> Callable[[str], None]:
    return lambda text: emit(events.ToolProgress(id=call_id, text=text))
