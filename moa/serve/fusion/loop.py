"""The model that answers, and the server tools that it calls, within one request of a client.

Server tools run here and their results go back to the model; a client's own tools are handed over. A reply that calls both: the server's
run first, then the client gets its own. What the client is sent are the events of all replies as if they were one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from agent.llm.messages import Message, Part, tool_result
from agent.llm.stream import Finished, Retrying, Started, StreamEvent, ToolCallDelta
from moa.serve.fusion.called import CallFinished, CallStarted, ServerEvent
from moa.serve.fusion.limits import Limits, Spent

if TYPE_CHECKING:
    from agent.llm.accounting import CallContext
    from agent.llm.client import Hold, ModelClient
    from agent.llm.messages import ToolCallPart
    from agent.llm.request import Request
    from agent.llm.stream import Reply
    from moa.serve.fusion.called import Called
    from moa.serve.fusion.execute import Conversation, ServerTools
    from moa.serve.fusion.offered import Offered


@dataclass(slots=True)
class Served:
    """What came of a request with server tools. `calls` stand each after so many parts of the reply (`places`)."""

    calls: list[Called] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    requested: int = 0
    replies: list[Reply] = field(default_factory=list)

    def usage(self) -> dict[str, Any]:
        """For `usage`: how often server tools were called, in both spellings (openrouter.ai: openapi.yaml has the first, the guide on web
        search the second)."""
        searches = sum(call.searches for call in self.calls)
        return {
            "server_tool_use_details": {
                "tool_calls_requested": self.requested,
                "tool_calls_executed": len(self.calls),
                "web_search_requests": searches,
            },
            "server_tool_use": {"web_search_requests": searches},
        }


async def stream(
    client: ModelClient,
    request: Request,
    context: CallContext,
    *,
    tools: ServerTools,
    offered: Sequence[Offered],
    conversation: Conversation,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    served: Served | None = None,
    hold: Hold | None = None,
) -> AsyncGenerator[StreamEvent | ServerEvent, None]:
    """Answer a request whose model may call the server tools `offered` (they are among `request.tools`). Yields what `client.stream` does,
    and the events of server tools; the one Finished at the end has all replies as one. `served` is filled on the way. Raises as
    `client.stream` does."""
    served = Served() if served is None else served
    run = _Run(client, context, tools, {each.function: each for each in offered}, conversation, limits, served)
    async with aclosing(run.events(request, hold)) as events:
        async for event in events:
            yield event


@dataclass(slots=True)
class _Run:
    client: ModelClient
    context: CallContext
    tools: ServerTools
    offered: Mapping[str, Offered]
    conversation: Conversation
    limits: Limits
    served: Served
    spent: Spent = field(default_factory=Spent)
    parts: list[Part] = field(default_factory=list)
    used: dict[str, int] = field(default_factory=dict)
    _since: list[Message] = field(default_factory=list)

    async def events(self, request: Request, hold: Hold | None) -> AsyncGenerator[StreamEvent | ServerEvent, None]:
        began = False
        while True:
            reply: Reply | None = None
            held: list[ToolCallDelta] = []
            async with aclosing(self.client.stream(request, self.context, hold=hold)) as stream:
                async for event in stream:
                    if isinstance(event, Finished):
                        reply = event.reply
                    elif isinstance(event, ToolCallDelta):
                        held.append(event)  # whose call it is, and whether another comes first, is known at the end
                    elif not (isinstance(event, Started) and began):
                        yield event
                    began = began or not isinstance(event, Started | Retrying)
            assert reply is not None, "a stream ends with Finished or an error"
            hold = None
            self._count(reply)
            own = [call for call in reply.message.tool_calls if call.name in self.offered]
            others = [call for call in reply.message.tool_calls if call.name not in self.offered]
            self.parts += [part for part in reply.message.parts if part not in own]
            results: list[Called] = []
            if request.tool_choice == "none":
                own = []  # this was the closing call: who calls a tool all the same gets none
            if own:
                # Before the client's calls: that is the order in which things happen.
                async with aclosing(self._call(own, len(self.parts) - len(others))) as running:
                    async for told in running:
                        if isinstance(told, CallFinished):
                            results.append(told.called)
                        yield told
            if others or not own:
                for delta in _of(held, reply, others):
                    yield delta
                yield Finished(self._whole(reply, others))
                return
            request = self._next(request, reply, results)

    def _count(self, reply: Reply) -> None:
        self.served.replies.append(reply)
        self.spent.finish = reply.finish
        self.spent.tokens += reply.usage.total if reply.usage is not None else 0
        self.spent.usd += (reply.cost_nano or 0) / 1e9

    async def _call(self, calls: Sequence[ToolCallPart], place: int) -> AsyncGenerator[ServerEvent, None]:
        """Run server tools side by side, and tell of them as it happens. Closed early, it stops them."""
        self.spent.steps += 1
        self.served.requested += len(calls)
        now = replace(self.conversation, history=(*self.conversation.history, *self._since))
        queue: asyncio.Queue[ServerEvent | None] = asyncio.Queue()
        tasks: list[asyncio.Task[None]] = []
        for call in calls:
            offered = self.offered[call.name]
            used = self.used.get(offered.function, 0)
            self.used[offered.function] = used + 1
            queue.put_nowait(CallStarted(offered, call))
            tasks.append(asyncio.create_task(self._one(offered, call, now, queue, used)))
        ended = asyncio.gather(*tasks)
        ended.add_done_callback(lambda _all: queue.put_nowait(None))
        try:
            while (event := await queue.get()) is not None:
                if isinstance(event, CallFinished):
                    self.served.calls.append(event.called)
                    self.served.places.append(place)
                yield event
            ended.result()
        finally:
            if not ended.done():
                ended.cancel()
                await asyncio.wait(tasks)
                # Looked at, or asyncio complains of it.
                await asyncio.gather(ended, return_exceptions=True)

    async def _one(
        self,
        offered: Offered,
        call: ToolCallPart,
        now: Conversation,
        queue: asyncio.Queue[ServerEvent | None],
        used: int,
    ) -> None:
        called = await self.tools.call(offered, call, now, self.context, queue.put_nowait, used=used)
        self.spent.usd += called.cost.nano / 1e9
        queue.put_nowait(CallFinished(called))

    def _next(self, request: Request, reply: Reply, results: Sequence[Called]) -> Request:
        """The request that follows: the reply as it came, with the results; what was required has happened."""
        by_id = {called.call.id: called for called in results}
        answered = [
            tool_result(call, by_id[call.id].text, is_error=not by_id[call.id].ok) for call in reply.message.tool_calls
        ]
        message = replace(reply.message, binding=reply.binding)
        self._since += [message, *answered]
        named = [(called.call, called.offered.type) for called in results]
        closing = self.limits.reached(self.spent, named)
        note = [reply.note] if reply.note is not None else []
        return replace(
            request,
            messages=(*request.messages, *note, message, *answered),
            tool_choice="none" if closing else "auto",
            controls=request.controls and replace(request.controls, tool=None),
            quirks=reply.quirks,
        )

    def _whole(self, reply: Reply, calls: Sequence[ToolCallPart]) -> Reply:
        """All replies as one: what was said in each, the client's calls, and the tokens of all of them. Its cost is the last call's own, as
        its id is: the books have the others."""
        if len(self.served.replies) == 1 and not self.served.calls:
            return reply
        replies = self.served.replies
        usages = [each.usage for each in replies if each.usage is not None]
        return replace(
            reply,
            message=replace(reply.message, parts=tuple(self.parts)),
            finish="tool_calls" if calls else "stop" if reply.finish == "tool_calls" else reply.finish,
            usage=sum(usages[1:], usages[0]) if usages else None,
            ttft_s=replies[0].ttft_s,
        )


def _of(held: Sequence[ToolCallDelta], reply: Reply, calls: Sequence[ToolCallPart]) -> list[ToolCallDelta]:
    """The pieces of the client's calls alone, counted from 0. Where the pieces don't match the reply, each call is one piece."""
    named = [delta for delta in held if delta.name is not None]
    if [delta.name for delta in named] != [call.name for call in reply.message.tool_calls]:
        return [ToolCallDelta(at, call.name, call.arguments, call.id) for at, call in enumerate(calls)]
    wanted = {delta.index: None for delta, call in zip(named, reply.message.tool_calls, strict=True) if call in calls}
    places = {index: at for at, index in enumerate(wanted)}
    return [replace(delta, index=places[delta.index]) for delta in held if delta.index in places]
