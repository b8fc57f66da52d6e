"""A request that another program has written, passed on as it came, with the clocks, the queue and the books of every other call.

Nothing here reads the conversation, asks again or adapts what is refused: all that is the other program's. The caller says what the answer
has used, because only it looks into the answer.

    relay = await client.relay(model, context, bound)
    try:
        head = await relay.send(Outgoing(path, headers, body))
        …                             # a refusal: `await relay.refusal()`, perhaps `send` again
        while (piece := await relay.read()) is not None: …
        await relay.done(heard)
    except BaseException as error:
        await relay.fail(error, heard)
        raise
    finally:
        await relay.aclose()
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from agent.llm.accounting import Outcome, Settlement
from agent.llm.errors import BadAnswer, ModelError, TimedOut
from agent.llm.net import limits
from agent.llm.net.alarm import Alarm
from agent.llm.net.http import (
    IDENTITY,
    JSON_PLAIN,
    as_model_error,
    beginning,
    foreign_encoding,
    joined,
    load_httpx,
    pieces,
    post,
)
from agent.llm.net.queue import rank
from agent.llm.stream import CostSource, Usage

if TYPE_CHECKING:
    import httpx

    from agent.llm.accounting import CallContext
    from agent.llm.client import Hold, ModelClient
    from agent.llm.models.endpoint import Endpoint
    from agent.llm.request import ModelRef

T = TypeVar("T")

CLOSING_S = 1.0


class Outgoing(NamedTuple):
    """What goes out: the path behind the endpoint's address (with its query), headers beside those of the endpoint, and the body."""

    path: str
    headers: Mapping[str, str]
    body: bytes


class Head(NamedTuple):
    """How an answer begins."""

    status: int
    headers: Mapping[str, str]


@dataclass(slots=True)
class Heard:
    """What an answer has said of itself. `cost_nano` is its own figure; None where it gives none."""

    usage: Usage | None = None
    cost_nano: int | None = None
    model_served: str | None = None
    provider: str | None = None
    generation_id: str | None = None
    incomplete: bool = False


class Relay:
    """One request that is passed on, its upper bound reserved. What it raises is a ModelError."""

    def __init__(
        self, client: ModelClient, endpoint: Endpoint, model: ModelRef, context: CallContext, hold: Hold
    ) -> None:
        self.endpoint = endpoint
        self.model = model
        self.call_id = hold.call_id
        self._hold = hold
        self._client = client
        self._gate = client.gate(endpoint)
        self._rank, self._account = rank(context.purpose), context.account
        self._alarm = Alarm()
        self._inside = self._settled = self._sent = self._chargeable = False
        self._began: float | None = None
        self._first: float | None = None
        self._heard_at = 0.0
        self._response: httpx.Response | None = None
        self._pieces: Any = None

    async def send(self, outgoing: Outgoing) -> Head:
        """Wait for a place in the endpoint's queue, send, and wait for the head of the answer. May be called again after a refusal."""
        await self._hang_up()
        if not self._inside:
            await self._gate.acquire(self._rank, self._account)
            self._inside = True
        now = self._now()
        self._began, self._heard_at = self._began or now, now
        if not self._sent:
            self._sent = True
            if not self._hold.marked:
                await self._client.accounts.sent(self.call_id)
        response = await self._timed(self._open(outgoing))
        self._response = response
        self._chargeable = response.is_success
        if self._chargeable and (encoding := foreign_encoding(response)):
            raise BadAnswer(f"{self.endpoint.name} answers in {encoding}, which was not asked for")
        self._pieces = pieces(response)
        return Head(response.status_code, response.headers)

    async def refusal(self) -> bytes:
        """The body of an answer that is none, up to a bound."""
        assert self._response is not None
        return await self._timed(beginning(self._response, limits.REFUSAL_BYTES))

    async def read(self) -> bytes | None:
        """The next bytes; None at their end. `heard` sets the silence clock back."""
        try:
            piece: bytes | None = await self._timed(anext(self._pieces, None))
        except load_httpx().HTTPError as error:
            raise as_model_error(error, self.endpoint, answered=True) from error
        return piece

    def heard(self) -> None:
        """The model has said something."""
        self._heard_at = self._now()
        if self._first is None:
            self._first = self._heard_at

    def cost(self, heard: Heard) -> tuple[int | None, CostSource]:
        """What the answer costs as far as it is known: nano-dollars, and where the figure comes from."""
        if heard.cost_nano is not None and not self.endpoint.free:
            return heard.cost_nano, "reply"
        return self._client.price(self.endpoint, self.model, heard.usage, heard.model_served)

    async def done(self, heard: Heard) -> None:
        """The answer has come to its end."""
        await self._settle("incomplete" if heard.incomplete else "done", heard)

    async def fail(self, error: BaseException, heard: Heard) -> None:
        """It has not. The socket is closed. A call that is settled already stays as it is."""
        try:
            await self.aclose()  # first: the books may have to wait
        finally:
            await self._failed(error, heard)

    async def _failed(self, error: BaseException, heard: Heard) -> None:
        if isinstance(error, ModelError):
            error.message = self.endpoint.redact(error.message)
            outcome: Outcome = "failed" if self._first is None else "incomplete"
            await self._settle(outcome, heard, error.kind, error.message)
        elif isinstance(error, Exception):
            await self._settle("failed", heard, "internal", type(error).__name__)
        else:
            await self._settle("cancelled", heard)

    async def aclose(self) -> None:
        """Close the socket and give the place in the queue back. Takes no longer than a second."""
        if self._inside:
            self._inside = False
            self._gate.release()
        await self._hang_up()
        self._alarm.stop()

    async def _open(self, outgoing: Outgoing) -> httpx.Response:
        endpoint, client = self.endpoint, self._client
        headers = joined(IDENTITY, outgoing.headers, client.headers("serve"), JSON_PLAIN, endpoint.headers)
        return await post(
            client.http, endpoint, outgoing.path, headers, outgoing.body, client.clocks.connect, self._charge
        )

    def _charge(self, taken: bool) -> None:
        self._chargeable = taken

    async def _timed(self, work: Awaitable[T]) -> T:
        clocks = self._client.clocks
        assert self._began is not None
        silence, ceiling = self._heard_at + clocks.silence, self._began + clocks.ceiling
        try:
            return await self._alarm.bound(work, min(silence, ceiling))
        except TimeoutError as error:
            if not self._alarm.rang:
                raise
            clock, limit = ("ceiling", clocks.ceiling) if ceiling <= silence else ("silence", clocks.silence)
            what = "did not finish" if clock == "ceiling" else "said nothing"
            raise TimedOut(f"{self.model} {what} within {limit:g} seconds", clock=clock) from error

    async def _settle(self, outcome: Outcome, heard: Heard, kind: str | None = None, text: str | None = None) -> None:
        if self._settled:
            return
        self._settled = True
        accounts = self._client.accounts
        if not self._sent:
            await self._client.release(self._hold)
            return
        usage = heard.usage
        cost, source = self.cost(heard)
        if not self._chargeable and cost is None:
            # Nothing was sent, or what was sent was refused: that costs nothing, and we know it.
            usage, cost, source = Usage(), 0, source if self.endpoint.free else "prices"
        clean = self.endpoint.redact
        await accounts.settle(
            self.call_id,
            Settlement(
                outcome=outcome,
                usage=usage,
                cost_nano=cost,
                cost_source=source,
                model_served=heard.model_served and clean(heard.model_served),
                provider=heard.provider and clean(heard.provider),
                generation_id=heard.generation_id and clean(heard.generation_id),
                ttft_s=None if self._first is None or self._began is None else self._first - self._began,
                duration_s=0.0 if self._began is None else self._now() - self._began,
                error_kind=kind,
                error=text,
            ),
        )

    async def _hang_up(self) -> None:
        response, self._response = self._response, None
        pieces, self._pieces = self._pieces, None
        if response is None:
            return
        with suppress(TimeoutError, Exception):
            await self._alarm.bound(_closing(pieces, response), self._now() + CLOSING_S)

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


async def _closing(pieces: Any, response: httpx.Response) -> None:
    if pieces is not None:
        await pieces.aclose()
    await response.aclose()
