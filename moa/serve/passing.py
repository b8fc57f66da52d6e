"""The same wire in and out: the body goes through as it came, and the answer's events are relayed as they come."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from agent.llm.answers.reading import first_object
from agent.llm.errors import AnswerTooLong, ModelError, StreamBroken
from agent.llm.net import limits
from agent.llm.relay import Relay
from agent.text import foreign_json
from moa.serve.bodies import aside
from moa.serve.costs import costs, joined
from moa.serve.counsel.taking import take
from moa.serve.events import Cutter, Event, Meter, with_payload
from moa.serve.outgoing import asks_for_usage, bound_of, kept_headers, outgoing, without
from moa.serve.reply import STREAM
from moa.serve.wires.registry import wire_named

if TYPE_CHECKING:
    from agent.llm.client import Hold
    from moa.serve.reply import Reply
    from moa.serve.server import Call

OURS = (401, 403)
"""What an endpoint refuses for the server's own key, which is not the client's to mend."""


async def pass_on(call: Call, reply: Reply) -> None:
    """Take counsel, send, relay. Raises ModelError, BudgetReached, UsageError and StateError for what fails before the head has gone out;
    after that it is said in the stream."""
    client, served = call.server.client, call.served
    bound = await aside(call.raw, partial(bound_of, call))
    hold = await client.reserve(call.named.main, call.context, bound, sends=call.named.preset is None)
    passing = _Passing(call, reply)
    try:
        if call.stream:
            async with reply.waiting(call.server.settings.head_s, lambda: wire_named(call.wire).sign):
                await passing.send(hold)
        else:
            await passing.send(hold)
        await passing.answer()
    except BaseException as error:
        try:
            if passing.relay is None:
                await client.release(hold)
            else:
                await passing.relay.fail(error, passing.meter.heard)
        finally:
            await served.broke_off()
        if not reply.begun or not isinstance(error, ModelError):
            raise
        await reply.end(call.server.config.redact(broken(call.wire, error, passing.meter).decode()).encode())
    finally:
        if passing.relay is not None:
            await passing.relay.aclose()


class _Passing:
    """One answer on its way through."""

    def __init__(self, call: Call, reply: Reply) -> None:
        self.call = call
        self.reply = reply
        self.relay: Relay | None = None
        self.remembered = call.served.is_remembered
        self.priced = call.named.preset is not None
        self.meter = Meter(call.wire, all=self.remembered)
        self._hides_usage = asks_for_usage(call)
        self._headers: Mapping[str, str] = {}
        self._status = 0
        self._refusal: bytes | None = None

    async def send(self, hold: Hold) -> None:
        """Take counsel, send, and wait for the head of the answer. After the named refusal of thoughts it goes once more without any."""
        call, served = self.call, self.call.served
        await take(served, call.base, lambda _event: None)
        relay = self.relay = await call.server.client.relay(call.named.main, call.context, hold)
        out = await aside(call.raw, lambda: outgoing(call, served.body(), relay.endpoint))
        head = await relay.send(out)
        if head.status >= 300:
            refusal = await relay.refusal()
            if served.goes_bare(head.status, refusal.decode("utf-8", "replace")):
                head = await relay.send(await aside(call.raw, lambda: outgoing(call, served.bare(), relay.endpoint)))
                refusal = b"" if head.status < 300 else await relay.refusal()
            self._refusal = refusal if head.status >= 300 else None
        self._status, self._headers = head.status, head.headers

    @property
    def own(self) -> Relay:
        """The relay, once there is one."""
        assert self.relay is not None
        return self.relay

    async def answer(self) -> None:
        """Relay what comes."""
        if self._refusal is not None:
            await self._refused(self._refusal)
        elif "event-stream" in self._headers.get("content-type", "").lower():
            await self._stream()
        else:
            await self._whole()

    async def _refused(self, body: bytes) -> None:
        call, endpoint = self.call, self.call.endpoint
        error = call.server.client.dialect(endpoint).classify(self._status, self._headers, body, endpoint)
        if not self.reply.begun and self._status not in OURS and self._status >= 400 and _is_object(body):
            await self.own.fail(error, self.meter.heard)
            if call.served.row is not None:
                await call.served.ended("cut")
            words = call.server.config.redact(self.own.endpoint.redact(body.decode("utf-8", "replace")))
            headers = {**self._kept, "content-type": "application/json"}
            await self.reply.body(self._status, words.encode(), headers)
            return
        raise error

    @property
    def _kept(self) -> dict[str, str]:
        return kept_headers(self._headers, self.own.endpoint)

    def _clean(self, data: bytes) -> bytes:
        """Whole events, or a whole body, without the endpoint's key: some repeat it in what they say of an error, whatever the status."""
        return without(data, self.own.endpoint)

    async def _stream(self) -> None:
        cutter, meter, relay, reply = Cutter(), self.meter, self.own, self.reply
        await reply.head(200, {**self._kept, **STREAM})
        out: list[bytes] = []
        while not meter.over and (piece := await relay.read()) is not None:
            out = []
            for raw, unread in meter.parts(cutter.block(piece)):
                if unread:
                    relay.heard()
                    out.append(raw)
                    continue
                try:
                    event = meter.read(raw)
                except StreamBroken:
                    await reply.write(self._clean(b"".join(out)))
                    raise
                if not raw.startswith((b":", b"event: ping")):
                    relay.heard()
                out.append(await self._event(event))
                if meter.over:
                    break
            if out and not meter.over:
                await reply.write(self._clean(b"".join(out)))
        if not meter.over and meter.finished:
            meter.over, out = True, [b"data: [DONE]\n\n"]
        if not meter.over:
            raise StreamBroken(f"the answer of {self.call.endpoint.name} broke off")
        await self._over()
        await reply.end(self._clean(b"".join(out)))

    async def _event(self, event: Event) -> bytes:
        """What the client gets of an event."""
        payload = event.payload
        if payload is None:
            return event.raw
        if self.remembered:
            self.call.served.answer.event(payload)
        if self._hides_usage and not payload.get("choices") and payload.get("usage"):
            return b""
        if self.priced and self.meter.heard.usage is not None:
            priced = await self._priced(payload)
            return event.raw if priced is payload else with_payload(event.raw, priced)
        return event.raw

    async def _priced(self, payload: dict[str, Any]) -> dict[str, Any]:
        ends = self.call.wire != "responses" or self.meter.over
        if not ends or not (payload.get("usage") or payload.get("response")):
            return payload
        more = await costs(self.call, self.own.cost(self.meter.heard)[0], self.own.call_id)
        return joined(self.call.wire, payload, more)

    async def _whole(self) -> None:
        relay, meter, call = self.own, self.meter, self.call
        body = bytearray()
        while (piece := await relay.read()) is not None:
            body += piece
            relay.heard()
            if len(body) > limits.answer_bytes(limits.MOST_TOKENS):
                raise AnswerTooLong(f"the answer of {call.endpoint.name} has more than {len(body)} bytes")
        payload = first_object(bytes(body).decode("utf-8", "replace"))
        if payload is None:
            raise StreamBroken(f"the answer of {call.endpoint.name} is not a JSON object, or broke off")
        meter.whole(payload)
        if self.remembered and meter.failed is None:
            call.served.answer.whole(payload)
        await self._over()
        if self.priced:
            payload = joined("", payload, await costs(call, relay.cost(meter.heard)[0], relay.call_id))
            body = bytearray(json.dumps(payload, ensure_ascii=False).encode("utf-8", "replace"))
        headers = {**self._kept, "content-type": "application/json"}
        await self.reply.body(self._status, self._clean(bytes(body)), headers)

    async def _over(self) -> None:
        """Everything is written down before the client gets the last of it."""
        failed, served = self.meter.failed, self.call.served
        if failed is None:
            await self.own.done(self.meter.heard)
            await served.ended("done")
            return
        await self.own.fail(_error_in(failed), self.meter.heard)
        await served.ended("cut")


def broken(call_wire: str, error: BaseException, meter: Meter | None) -> bytes:
    """The event with which an answer ends that broke. What was begun is not closed as if it were whole."""
    _status, body, _headers = wire_named(call_wire).error(error)
    if call_wire == "messages":
        return _event("error", body)
    fault = body["error"]
    if call_wire == "chat":
        choice = {"index": 0, "delta": {}, "finish_reason": "error"}
        return _event("", {"id": "", "object": "chat.completion.chunk", "choices": [choice], "error": fault})
    number = 0 if meter is None else meter.sequence + 1
    if meter is None or not meter.response:
        return _event("error", {**fault, "type": "error", "sequence_number": number})
    code = fault.get("code") or "server_error"
    response = {**meter.response, "status": "failed", "error": {"code": code, "message": fault["message"]}}
    return _event("response.failed", {"type": "response.failed", "sequence_number": number, "response": response})


def _event(name: str, payload: dict[str, Any]) -> bytes:
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(payload, ensure_ascii=False)}\n\n".encode("utf-8", "replace")


def _error_in(payload: dict[str, Any]) -> ModelError:
    error = payload.get("error")
    words = (
        error.get("message") if isinstance(error, dict) else error if isinstance(error, str) else payload.get("message")
    )
    return StreamBroken(str(words or "the endpoint ended its answer with an error")[:2000])


def _is_object(body: bytes) -> bool:
    try:
        found = foreign_json.loads(body)
    except ValueError:
        return False
    return isinstance(found, dict) and bool(found.get("error"))
