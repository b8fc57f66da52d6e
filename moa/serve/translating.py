"""Another wire in than out: the request is read into our own types, the call is one like any other, and its events are written as the
client's wire has them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from agent.ledger.database import BUSY_S
from agent.ledger.patient import AFTER_S
from agent.llm.errors import ModelError
from agent.llm.stream import Finished
from agent.llm.stream import Reply as ModelReply
from agent.text import foreign_json
from moa.serve.bodies import aside
from moa.serve.costs import costs
from moa.serve.counsel.taking import take
from moa.serve.events import Cutter, data_of
from moa.serve.fusion import loop
from moa.serve.fusion.encoders import encoder_for, whole
from moa.serve.fusion.loop import Served as Tools
from moa.serve.fusion.prepare import conversation_of
from moa.serve.outgoing import GUIDANCE
from moa.serve.reply import STREAM
from moa.serve.wires.registry import wire_named
from moa.serve.wires.wire import Asked, Target

if TYPE_CHECKING:
    from agent.llm.client import Hold
    from agent.llm.request import Request
    from moa.serve.fusion.execute import Conversation
    from moa.serve.reply import Reply
    from moa.serve.server import Call


async def translate(call: Call, reply: Reply) -> None:
    """Take counsel, call, answer. Raises what `pass_on` raises, and Unsayable."""
    client, served = call.server.client, call.served
    first = await read(call, await aside(call.raw, served.body), BUSY_S)
    preset = call.named.preset
    headroom = 0 if preset is None else GUIDANCE
    if call.prepared.is_served:
        call.server.tools.check(
            call.prepared.lowered.tools, _Translating(call, reply).conversation(), call.context, call.account
        )
    hold = await client.hold(first.request, call.context, headroom_tokens=headroom)
    if first.left_out:
        reply.extra = {**reply.extra, "x-moa-left-out": ", ".join(first.left_out)[:1000]}
    translating = _Translating(call, reply)
    try:
        if call.stream:
            async with reply.waiting(call.server.settings.head_s, translating.encoder.alive):
                await take(served, call.base, lambda _event: None)
                await translating.first(hold)
        else:
            await take(served, call.base, lambda _event: None)
            await translating.first(hold)
        await translating.rest()
    except BaseException as error:
        try:
            if not translating.began:
                await client.release(hold)
        finally:
            await served.broke_off()
        if not isinstance(error, ModelError) or not await translating.ended_with(error):
            raise
    finally:
        await translating.aclose()


async def read(call: Call, body: dict[str, Any], wait_s: float = BUSY_S) -> Asked:
    """The body as a request of ours. `wait_s`: so long for the database. Raises Unsayable and StateError."""
    wire = wire_named(call.wire)
    config = call.server.config
    keeping, key = call.server.keeping, call.served.asked.key
    marks = await aside(call.raw, partial(wire.marks, body))
    kept = await keeping.ledger.patiently(partial(keeping.find, key, marks), wait_s)
    quirks = call.server.client.quirks(call.endpoint, call.named.main.model)
    target = Target(call.named.main, call.endpoint.dialect, config.max_tokens, kept, quirks)
    return await aside(call.raw, partial(wire.read, body, target))


class _Translating:
    """One answer on its way."""

    def __init__(self, call: Call, reply: Reply) -> None:
        self.call = call
        self.reply = reply
        self.wire = wire_named(call.wire)
        self.tools = Tools()
        inner = self.wire.encoder(call.named.main.model, call.body)
        self.encoder = encoder_for(call.wire, inner, self.tools) if call.prepared.is_served else inner
        self._cutter = Cutter()
        self._stream: Any = None
        self._events: Any = None
        self._held: list[Any] = []
        self.began = False
        """Whether the call has taken the hold over."""

    async def first(self, hold: Hold) -> None:
        """Make the call, and wait until something comes; a refusal of thoughts is the client of models' own to answer."""
        call = self.call
        asked = await read(call, call.served.body(), AFTER_S)
        self._stream = aclosing(self._answers(asked.request, hold))
        self._events = await self._stream.__aenter__()
        self.began = True
        while not self._held:
            event = await anext(self._events)
            if isinstance(event, Finished) or self._encoded(event):
                self._held.append(event)

    def _answers(self, request: Request, hold: Hold) -> AsyncGenerator[Any, None]:
        """The events of the model that answers, and of the server tools that it calls."""
        call = self.call
        if not call.prepared.is_served:
            return call.server.client.stream(request, call.context, hold=hold)
        return loop.stream(
            call.server.client,
            request,
            call.context,
            tools=call.server.tools,
            offered=call.prepared.lowered.tools,
            conversation=self.conversation(),
            limits=call.prepared.lowered.limits,
            served=self.tools,
            hold=hold,
        )

    def conversation(self) -> Conversation:
        """What panels that the model calls see of the request."""
        call = self.call
        preset = call.named.preset.name if call.named.preset is not None else ""
        redact = call.server.config.redact
        return conversation_of(call.wire, call.prepared, call.named.main, preset=preset, redact=redact)

    def _encoded(self, event: Any) -> bool:
        return type(event).__name__ not in ("Started", "Retrying", "Alive")

    async def rest(self) -> None:
        """The events of the answer, to its end."""
        if self.call.stream:
            await self.reply.head(200, STREAM)
        while True:
            event = self._held.pop(0) if self._held else await anext(self._events)
            if isinstance(event, Finished):
                await self._over(event.reply)
                return
            if self.call.stream:
                await self._write(self.encoder.feed(event))

    async def _write(self, data: bytes, *, last: bool = False) -> None:
        self._observe(data)
        if last:
            await self.reply.end(data)
        elif data:
            await self.reply.write(data)

    def _observe(self, data: bytes) -> None:
        """What the client gets is what its next request is known by."""
        if not self.call.served.is_remembered:
            return
        for raw in self._cutter.feed(data):
            try:
                payload = foreign_json.loads(data_of(raw))
            except ValueError:
                continue
            if isinstance(payload, dict):
                self.call.served.answer.event(payload)

    async def _over(self, reply: ModelReply) -> None:
        call, served = self.call, self.call.served
        usage = await self._usage(reply.cost_nano, reply.call_id)
        if call.stream:
            data = self.encoder.end(reply, usage)
            self._observe(data)
            await self._keep(reply, self.encoder.mark)
            await served.ended("done")
            await self.reply.end(data)
            return
        from moa.serve.wires.kept import new_mark

        mark = new_mark()
        usage = {**(usage or {}), **(self.tools.usage() if call.prepared.is_served else {})}
        body = whole(call.wire, self.wire.whole(reply, call.named.main.model, call.body, mark, usage), self.tools)
        if served.is_remembered:
            served.answer.whole(body)
        await self._keep(reply, mark)
        await served.ended("done")
        await self.reply.whole(200, body)

    async def _keep(self, reply: ModelReply, mark: str) -> None:
        """What the client's wire has no place for stays here, with what request it answers."""
        message = replace(reply.message, binding=reply.binding)
        await self.call.server.keeping.keep(self.call.served.asked.key, message, mark)

    async def _usage(self, own: int | None, call_id: str) -> Mapping[str, Any] | None:
        priced = self.call.named.preset is not None or self.call.prepared.is_served
        return await costs(self.call, own, call_id) if priced else None

    async def ended_with(self, error: ModelError) -> bool:
        """Whether the client's wire has an ending of its own for an error, and was sent it."""
        usage = await self._usage(error.cost_nano, error.call_id or "")
        if self.reply.begun:
            await self.reply.end(self.encoder.fail(error, usage))
            return True
        body = self.wire.refused(error, self.call.named.main.model, self.call.body, usage)
        if body is None:
            return False
        if not self.call.stream:
            await self.reply.whole(200, body)
        else:
            await self.reply.head(200, STREAM)
            await self.reply.end(self.encoder.fail(error, usage))
        return True

    async def aclose(self) -> None:
        """End the call, whatever it is at."""
        if self._stream is not None:
            await self._stream.__aexit__(None, None, None)
