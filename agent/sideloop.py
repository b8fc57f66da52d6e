"""The agent's loop in small, for helpers beside the main model that may look things up."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from agent.llm.messages import Message, Part

if TYPE_CHECKING:
    from agent.llm.accounting import CallContext
    from agent.llm.client import ModelClient
    from agent.llm.request import Request
    from agent.llm.stream import Reply
    from agent.tools.runner import ToolRunner


@dataclass(slots=True)
class SideLoop:
    """The same loop in small, for a panel member or another helper that may look things up: read-only tools, no plugins, no session.

    `max_calls` bounds its tool calls; with the last one the model is asked to answer without tools.
    """

    client: ModelClient
    tools: ToolRunner
    history: list[Message] = field(default_factory=list)

    async def run(self, request: Request, context: CallContext, *, max_calls: int, on_event: Any = None) -> Reply:
        """Complete a request, serving its tool calls. Returns the last reply, with the text that answers. Raises ModelError."""
        self.history = list(request.messages)
        left = max_calls
        while True:
            specs = self.tools.specs if left > 0 else ()
            step = replace(request, messages=tuple(self.history), tools=specs)
            reply: Reply = await self.client.complete(step, context, on_event=on_event)
            calls = reply.message.tool_calls[:left]
            if not calls:
                return reply
            self.history.append(replace_calls(reply.message, len(calls)))
            async for result in self.tools.run(calls, None, (), lambda _event: None):
                self.history.append(result)
            left -= len(calls)


def replace_calls(message: Message, count: int) -> Message:
    """The message with only its first `count` tool calls, so that none is left without a result."""
    kept: list[Part] = []
    for part in message.parts:
        if part.type == "tool_call":
            if count == 0:
                continue
            count -= 1
        kept.append(part)
    return replace(message, parts=tuple(kept))
