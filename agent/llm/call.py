"""One call from the queue to the books: clocks, retries, adapted resends, settlement.

A state machine with one door, `next()`, so that `ModelClient.stream` never yields inside a time-out or a lock (PEP 789).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from agent.llm.accounting import Outcome, Settlement
from agent.llm.binding import binding
from agent.llm.errors import (
    AuthError,
    BadRequest,
    EmptyAnswer,
    ModelError,
    OutputRefused,
    PaymentRequired,
    RateLimited,
    TimedOut,
    Unsupported,
)
from agent.llm.net.alarm import Alarm
from agent.llm.net.counting_decoder import Overheard
from agent.llm.net.queue import rank
from agent.llm.refusals.adapting import adapt, note_of
from agent.llm.stream import Finished, Reply, Retrying, Started, StreamEvent, Usage

if TYPE_CHECKING:
    from random import Random

    from agent.llm.accounting import Accounts, CallContext
    from agent.llm.client import Clocks, Hold, ModelClient
    from agent.llm.dialects.base import Decoder, Dialect, Exchange
    from agent.llm.messages import Message
    from agent.llm.models.endpoint import Endpoint
    from agent.llm.net.queue import Gate
    from agent.llm.net.retry import RetryPolicy
    from agent.llm.request import Request

T = TypeVar("T")

# One for every feature that a request could have to do without; more is an endpoint that we don't understand.
MOST_ADAPTATIONS = 6
CLOSING_S = 1.0
# A reported token for fewer characters than these is believed.
STALE_CHARACTERS = 12
FAR = float("inf")

REFUSALS = (BadRequest, AuthError, PaymentRequired, RateLimited)
"""What an endpoint says before it does anything."""


class Call:
    """A call whose upper bound is reserved by `hold`. Ask `next()` until it gives Finished; then, whatever happened, `aclose()`."""

    def __init__(
        self,
        door: ModelClient,
        endpoint: Endpoint,
        request: Request,
        context: CallContext,
        hold: Hold,
    ) -> None:
        self._door = door
        self._endpoint = endpoint
        self._request = request
        self._context = context
        self._call_id = hold.call_id
        self._marked = hold.marked
        self._rank = rank(context.purpose)
        self._headers = door.headers(context.purpose)
        self._accounts: Accounts = door.accounts
        self._clocks: Clocks = door.clocks
        self._policy: RetryPolicy = door.retry
        self._gate: Gate = door.gate(endpoint)
        self._dialect: Dialect = door.dialect(endpoint)
        pinned = request.quirks
        self._quirks = door.quirks(endpoint, request.model.model) if pinned is None else pinned
        self._random: Random | None = None
        self._events: deque[StreamEvent] = deque()
        self._step: Callable[[], Awaitable[None]] = self._enter
        self._exchange: Exchange | None = None
        self._inside = False
        self._settled = False
        self._announced: str | None = None
        self._began: float | None = None
        self._heard = 0.0
        self._listened = 0
        self._first: float | None = None
        self._overheard: Overheard | None = None
        self._retries = 0
        self._adaptations = 0
        self._attempts = 1
        self._note: Message | None = None
        self._alarm = Alarm()

    async def next(self) -> StreamEvent:
        """The next event. Raises ModelError where the call has failed for good."""
        while not self._events:
            await self._step()
        return self._events.popleft()

    async def fail(self, error: BaseException) -> None:
        """Close the socket, settle a call that did not come to its end, and put what is known of it into the error."""
        try:
            await self.aclose()  # first: the books may have to wait
        finally:
            await self._failed(error)

    async def _failed(self, error: BaseException) -> None:
        decoder = self._exchange.decoder if self._exchange is not None else None
        usage = decoder.usage if decoder is not None else None
        if isinstance(error, ModelError):
            error.call_id, error.note = self._call_id, self._note
            error.usage = usage = error.usage or usage
            if error.partial is None and decoder is not None and self._first is not None:
                error.partial = decoder.partial
            error.message = self._scrub(error.message)
            error.args = (error.message,)
            outcome: Outcome = "failed" if error.partial is None else "incomplete"
            cost = await self._settle_failure(outcome, usage, error.kind, error.message, error.cost_nano)
            error.cost_nano = cost
        elif isinstance(error, Exception):
            await self._settle_failure("failed", usage, "internal", self._scrub(f"{type(error).__name__}: {error}"))
        else:
            await self._settle_failure("cancelled", usage, None, None)

    async def aclose(self) -> None:
        """Close the socket and give the place in the queue back. Takes no longer than a second."""
        self._leave()
        await self._hang_up()
        self._alarm.stop()

    # Steps: each one does a piece of work and names the next.

    async def _enter(self) -> None:
        await self._gate.acquire(self._rank, self._context.account)
        self._inside = True
        if self._began is None:
            self._began = self._now()
            self._events.append(Started())
        self._step = self._send

    async def _send(self) -> None:
        if self._announced is None:
            if not self._marked:
                await self._accounts.sent(self._call_id)
            self._announced, self._marked = "", False
        self._heard = self._now()
        sent, decoder = self._encode()
        self._listened = 0
        self._exchange = exchange = self._dialect.exchange(decoder, self._endpoint, self._headers)
        try:
            await self._timed(exchange.open(self._door.http, sent, self._quirks, self._clocks.connect))
        except ModelError as error:
            await self._again_or_raise(error)
            return
        self._step = self._read

    async def _read(self) -> None:
        exchange = self._exchange
        assert exchange is not None
        try:
            events = await self._timed(exchange.read())
            reply = exchange.finish() if events is None else None
        except ModelError as error:
            self._listen()
            await self._again_or_raise(error)
            return
        await self._announce(exchange.generation_id)
        self._listen()
        if events:
            self._events.extend(events)
        elif reply is not None:
            self._events.append(Finished(await self._settle_reply(reply)))

    async def _back_off(self, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        self._step = self._enter

    # What follows a failed attempt

    async def _again_or_raise(self, error: ModelError) -> None:
        if self._exchange is not None and self._first is None and isinstance(error, REFUSALS):
            self._exchange.chargeable = False  # a refusal costs nothing, with HTTP status 200, too
        if isinstance(error, OutputRefused) and self._asks_again(error):
            await self._hang_up()
            await self._write_off(error)
            self._events.append(Retrying(self._scrub(error.message), 0.0, adapted=True))
            self._step = self._send
            return
        if self._first is None and error.partial is None:
            if self._adapt(error):
                await self._hang_up()
                await self._write_off(error)
                self._events.append(Retrying(self._scrub(error.message), 0.0, adapted=True, quirks=self._quirks))
                self._step = self._send
                return
            delay = self._delay(error)
            if delay is not None:
                await self._hang_up()
                # Whoever waits does not keep others waiting.
                self._leave()
                await self._write_off(error)
                self._retries += 1
                self._events.append(Retrying(self._scrub(error.message), delay))
                self._step = lambda: self._back_off(delay)
                return
        raise error

    async def _write_off(self, error: ModelError) -> None:
        """An attempt that the endpoint may bill stays in the books as a call of its own, with its bound; the next one needs its own.

        Raises BudgetReached where a cap leaves no room for another.
        """
        if self._exchange is None or not self._exchange.chargeable:
            return
        usage = error.usage or self._exchange.decoder.usage
        await self._settle_failure("failed", usage, error.kind, self._scrub(error.message), error.cost_nano)
        self._exchange = None
        bound = self._door.bound(self._request)
        self._call_id = await self._accounts.reserve(self._request.model, self._context, bound)
        self._settled, self._announced, self._attempts = False, None, self._attempts + 1

    def _asks_again(self, error: OutputRefused) -> bool:
        if self._note is not None or (note := note_of(error)) is None:
            return False
        self._note = note
        self._request = replace(self._request, messages=(*self._request.messages, note))
        self._first = None
        return True

    def _adapt(self, error: ModelError) -> bool:
        found = adapt(self._request, self._quirks, error) if self._adaptations < MOST_ADAPTATIONS else None
        if found is None:
            return False
        self._adaptations += 1
        self._request, self._quirks = found.request, found.quirks
        if found.taught and isinstance(error, Unsupported):
            self._door.learned(self._request.model, error.features)
        return True

    def _delay(self, error: ModelError) -> float | None:
        if self._random is None:
            self._random = self._policy.random()
        if isinstance(error, EmptyAnswer) and self._request.messages[-1].role == "tool":
            return None  # the same request would end the same way: the loop asks on in words
        if self._exchange is not None and self._exchange.quiet:
            return None  # a program, which has tried again by itself
        delay = self._policy.wait(error, self._retries + 1, self._random)
        if delay is None or self._now() + delay >= self._deadline():
            return None
        return delay

    def _encode(self) -> tuple[Request, Decoder]:
        emulated = self._door.emulates(self._endpoint, self._request.model, self._quirks)
        sent = self._request
        if emulated:
            from agent.llm.dialects.emulate import emulate
            from agent.llm.dialects.emulate_decoder import EmulatedDecoder

            sent = emulate(self._request)
        self._overheard = overheard = Overheard(self._dialect.decoder(sent, self._endpoint))
        return sent, EmulatedDecoder(overheard, self._request) if emulated else overheard

    # Clocks

    def _listen(self) -> None:
        """Set the silence clock back where the model has said something since the last time."""
        if self._overheard is not None and self._overheard.events > self._listened:
            self._listened = self._overheard.events
            self._heard = self._now()
            if self._first is None:
                self._first = self._heard

    async def _timed(self, work: Awaitable[T]) -> T:
        """Wait for a piece of work under the silence clock and the ceiling."""
        silence, ceiling = self._heard + self._clocks.silence, self._deadline()
        if self._exchange is not None and self._exchange.quiet:
            silence = FAR
        try:
            return await self._alarm.bound(work, min(silence, ceiling))
        except TimeoutError as error:
            if not self._alarm.rang:
                raise
            clock, limit = (
                ("ceiling", self._clocks.ceiling) if ceiling <= silence else ("silence", self._clocks.silence)
            )
            what = "did not finish" if clock == "ceiling" else "said nothing"
            raise TimedOut(f"{self._request.model} {what} within {limit:g} seconds", clock=clock) from error

    def _deadline(self) -> float:
        return FAR if self._began is None else self._began + self._clocks.ceiling

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

    # The books

    async def _announce(self, generation_id: str | None) -> None:
        """Write down the provider's id of the call while it runs, where the provider can be asked by it what a call that we lose has cost."""
        if generation_id is None or self._announced == generation_id:
            return
        from agent.llm.net.generation import (
            can_tell,
        )  # when the answer has begun: it is nothing that the first byte waits for

        self._announced = generation_id
        if can_tell(self._endpoint):
            await self._accounts.sent(self._call_id, generation_id=self._clean(generation_id))

    async def _settle_reply(self, reply: Reply) -> Reply:
        exchange = self._exchange
        assert exchange is not None and self._began is not None
        cost, source = reply.cost_nano, reply.cost_source
        if self._endpoint.free or cost is None or cost < 0:
            cost, source = self._door.price(self._endpoint, self._request.model, reply.usage, reply.model_served)
        reply = reply.with_(
            cost_nano=cost,
            cost_source=source,
            model_served=self._clean(reply.model_served),
            provider=self._clean(reply.provider),
            generation_id=self._clean(reply.generation_id or exchange.generation_id),
            call_id=self._call_id,
            ttft_s=None if self._first is None else self._first - self._began,
            duration_s=self._now() - self._began,
            retries=self._retries,
            binding=self._binding(exchange, reply),
            quirks=self._quirks,
            left=(*exchange.left, *reply.left),
            note=self._note,
        )
        await self._settle(
            Settlement(
                outcome="incomplete" if reply.message.incomplete else "done",
                usage=reply.usage,
                cost_nano=reply.cost_nano,
                cost_source=reply.cost_source,
                model_served=reply.model_served,
                provider=reply.provider,
                generation_id=reply.generation_id,
                ttft_s=reply.ttft_s,
                duration_s=reply.duration_s,
                retries=reply.retries,
            )
        )
        return reply

    def _binding(self, exchange: Exchange, reply: Reply) -> str | None:
        bare = not self._request.thoughts
        return binding(exchange.items, reply.message, self._endpoint, reply.model_served, bare=bare)

    async def _settle_failure(
        self, outcome: Outcome, usage: Usage | None, kind: str | None, text: str | None, own: int | None = None
    ) -> int | None:
        """Returns what the failure cost, nano-dollars; `own` is the endpoint's own figure of it. None: nobody has told."""
        exchange, now = self._exchange, self._now()
        said = 0 if self._overheard is None else self._overheard.characters
        if usage is not None and usage.completion * STALE_CHARACTERS < said:
            # What was reported at the beginning (Anthropic's message_start) says nothing of what was written since.
            usage = None
        chargeable = exchange is not None and exchange.chargeable
        cost, source = self._door.price(self._endpoint, self._request.model, usage)
        if own is not None and not self._endpoint.free:
            cost, source = own, "reply"
        elif usage is None and not chargeable:
            # Nothing was sent, or what was sent was refused: that costs nothing, and we know it.
            usage, cost, source = Usage(), 0, source if self._endpoint.free else "prices"
        await self._settle(
            Settlement(
                outcome=outcome,
                usage=usage,
                cost_nano=cost,
                cost_source=source,
                generation_id=self._clean(exchange.generation_id) if exchange is not None else None,
                ttft_s=None if self._first is None or self._began is None else self._first - self._began,
                duration_s=0.0 if self._began is None else now - self._began,
                retries=self._retries,
                error_kind=kind,
                error=text,
            )
        )
        return self._door.lost_cost(self._request.model) if cost is None else cost

    async def _settle(self, settlement: Settlement) -> None:
        if self._settled:
            return
        self._settled = True
        if (
            self._attempts > 1 and self._announced is None
        ):  # ended before this attempt went out: those before have their rows
            await self._accounts.release(self._call_id)
        else:
            await self._accounts.settle(self._call_id, settlement)

    # Leaving

    def _leave(self) -> None:
        if self._inside:
            self._inside = False
            self._gate.release()

    async def _hang_up(self) -> None:
        exchange = self._exchange
        if exchange is None:
            return
        with suppress(TimeoutError):
            await self._alarm.bound(exchange.aclose(), self._now() + CLOSING_S)

    def _clean(self, name: str | None) -> str | None:
        """What an endpoint calls something; some call it by our key."""
        return None if name is None else self._scrub(name)

    def _scrub(self, text: str) -> str:
        return self._endpoint.redact(text)
