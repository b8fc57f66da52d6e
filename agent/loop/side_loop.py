"""The agent's loop in small, for helpers beside the main model that may look things up."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from agent.llm.messages import Message, tool_result, user

if TYPE_CHECKING:
    from agent.llm.accounting import CallContext
    from agent.llm.client import ModelClient
    from agent.llm.request import Request
    from agent.llm.stream import Reply
    from agent.loop.tool_runner import ToolRunner


NO_MORE = "Not run: the limit of tool calls is reached. Answer with what you have."


@dataclass(slots=True)
class SideLoop:
    """The same loop in small, for a panel member or another helper that may look things up: read-only tools, no plugins, no session.

    `max_calls` bounds its tool calls; with the last one the model is asked to answer without tools.
    """

    client: ModelClient
    tools: ToolRunner
    history: list[Message] = field(default_factory=list)

    async def run(self, request: Request, context: CallContext, *, max_calls: int, on_event: Any = None) -> Reply:
        """Complete a request, serving its tool calls. Returns the last reply, with the text that answers. Raises ModelError.

        Each request begins with the whole one before: the tail becomes the message that it was sent as, replies stay as they came, and
        the tools stay listed to the end. `on_event` is given the events of the model's stream, and those of the tools (`ToolStarted`,
        `ToolFinished`, `Notice`).
        """
        shared = len(request.messages)
        self.history = list(request.messages)
        if request.tail is not None:
            self.history.append(user(request.tail))
        specs, left = self.tools.specs, max_calls
        quirks = request.quirks
        while True:
            step = replace(
                request,
                messages=tuple(self.history),
                tail=None,
                shared=shared,
                tools=specs,
                tool_choice="auto" if left > 0 else "none",
                quirks=quirks,
            )
            reply: Reply = await self.client.complete(step, context, on_event=on_event)
            quirks = reply.quirks
            calls = reply.message.tool_calls
            if not calls or left <= 0:
                return reply
            self.history.append(replace(reply.message, binding=reply.binding))
            async for result in self.tools.run(calls[:left], None, on_event or (lambda _event: None)):
                self.history.append(result)
            self.history += [tool_result(call, NO_MORE, is_error=True) for call in calls[left:]]
            left -= len(calls[:left])
