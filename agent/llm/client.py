"""The one door to models: every call of every kind goes through `ModelClient`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from agent.llm.accounting import Bound, Settlement
from agent.llm.call import Call
from agent.llm.dialects.registry import dialect_named
from agent.llm.messages import TextPart
from agent.llm.models.effort import check as check_effort
from agent.llm.money import LARGEST_NANO
from agent.llm.net.http import Http
from agent.llm.net.queue import Gate
from agent.llm.net.retry import RetryPolicy
from agent.llm.stream import Finished
from agent.text.nearest import nearest
from agent.values import dataclass

if TYPE_CHECKING:
    import httpx

    from agent.errors import UsageError
    from agent.llm.accounting import Accounts, CallContext, Purpose
    from agent.llm.dialects.base import Dialect
    from agent.llm.messages import Part
    from agent.llm.models.catalogue import Catalogue, ListedModel
    from agent.llm.models.endpoint import Endpoint, ModelFacts
    from agent.llm.models.learned_quirks import QuirkMemory
    from agent.llm.relay import Relay
    from agent.llm.request import ModelRef, Request
    from agent.llm.stream import CostSource, Reply, StreamEvent, Usage

# Starts what serves a model of an endpoint, on first use, and returns the endpoint with its real address and key.
Launcher = Callable[[str], Awaitable["Endpoint"]]


@dataclass(frozen=True, slots=True)
class Clocks:
    """Seconds. `silence` is the time without a semantic event (keep-alive comments do not count); `ceiling` is for a whole call."""

    connect: float = 10.0
    silence: float = 180.0
    ceiling: float = 1800.0


@dataclass(slots=True)
class Hold:
    """A reservation that was made ahead of its call, so that nothing else can spend it. `marked`: the books take it as sent already."""

    call_id: str
    marked: bool = False


_AS_IT_IS: tuple[Purpose, ...] = ("main", "serve")
"""Conversations that are sent again and again, byte for byte: the one is without keys in its session, the other is the client's own."""


class ModelClient:
    """Calls models: queue, clocks, retries, adapted resends, budget and books.

    `endpoints` by name; `accounts` are the books; `catalogue` and `memory` are what is known and was learned of models. `launchers` start an
    endpoint's server on first use, `on_close` ends what they started. `notice(code, text)` tells the user of learned quirks. `transport` replaces the
    network, `dialects` the wire formats (by endpoint name, tests). `depth_headers(panel)` are headers that say how deep in panels a call is.
    """

    def __init__(
        self,
        endpoints: Mapping[str, Endpoint],
        accounts: Accounts,
        *,
        catalogue: Catalogue,
        memory: QuirkMemory,
        clocks: Clocks = Clocks(),  # noqa: B008 - frozen
        retry: RetryPolicy = RetryPolicy(),  # noqa: B008 - frozen
        transport: httpx.AsyncBaseTransport | None = None,
        dialects: Mapping[str, Dialect] | None = None,
        launchers: Mapping[str, Launcher] | None = None,
        on_close: Callable[[], Awaitable[None]] | None = None,
        notice: Callable[[str, str], None] | None = None,
        depth_headers: Callable[[bool], Mapping[str, str]] = lambda _panel: {},
        redact: Callable[[str], str] = lambda text: text,
    ) -> None:
        self._redact = redact
        self.accounts = accounts
        self.catalogue = catalogue
        self.clocks = clocks
        self.retry = retry
        self.http = Http(transport)
        self._endpoints = dict(endpoints)
        self._memory = memory
        self._dialects = dict(dialects or {})
        self._launchers = dict(launchers or {})
        self._on_close = on_close
        self._notice = notice
        self._depth_headers = depth_headers
        self._gates: dict[str, Gate] = {}

    def redact(self, text: str) -> str:
        """A text without any configured key: for what one model says that another one is to read, and no session cleans."""
        return self._redact(text)

    def endpoint(self, name: str) -> Endpoint:
        """The endpoint of that name. Raises UsageError for an unknown one, naming the nearest and where endpoints are set."""
        found = self._endpoints.get(name)
        if found is not None:
            return found
        from agent.errors import UsageError

        near = nearest(name, self._endpoints)
        raise UsageError(
            f"there is no endpoint {name!r}" + (f"; did you mean {near!r}?" if near else ""),
            remedy=f"models are written ENDPOINT:MODEL; describe a new endpoint under [endpoints.{name}] in config.toml",
            kind="unknown_endpoint",
        )

    def require_key(self, name: str) -> Endpoint:
        """The endpoint of that name, ready to be called. Raises UsageError (kind `missing_key`) where its key is not set."""
        endpoint = self.endpoint(name)
        if endpoint.api_key is None and endpoint.api_key_env is not None:
            raise _missing_key(endpoint)
        return endpoint

    def facts(self, model: ModelRef) -> ModelFacts:
        """What is known: the user's entry, then the endpoint's catalogue as last seen, then the price snapshot."""
        return self.catalogue.facts(self.endpoint(model.endpoint), model.model)

    def bound(self, request: Request, *, headroom_tokens: int = 0) -> Bound:
        """The most that this call can cost; `headroom_tokens` are prompt tokens that may still be added to it (guidance).

        A prompt longer than the model's window would be refused, so the window limits it.
        """
        from agent.llm.models.prices import bound_nano
        from agent.llm.tokens import prompt_bound

        endpoint = self.endpoint(request.model.endpoint)
        facts = self.catalogue.facts(endpoint, request.model.model)
        quirks = self.quirks(endpoint, request.model.model)
        prompt = prompt_bound(request, emulated=self.emulates(endpoint, request.model, quirks)) + headroom_tokens
        limits = [limit for limit in (request.max_tokens, facts.max_output, facts.context_window) if limit is not None]
        completion = max(0, min(limits))
        if facts.context_window is not None:
            prompt = min(prompt, facts.context_window)
        if endpoint.free:
            return Bound(prompt, completion, 0)
        return Bound(prompt, completion, None if facts.price is None else bound_nano(prompt, completion, facts.price))

    async def hold(self, request: Request, context: CallContext, *, headroom_tokens: int = 0) -> Hold:
        """Reserve a call ahead of time, with room for so many more prompt tokens. Raises BudgetReached, or UsageError as `stream` does."""
        self.require_key(request.model.endpoint)
        bound = self.bound(request, headroom_tokens=headroom_tokens)
        return Hold(await self.accounts.reserve(request.model, context, bound))

    async def release(self, hold: Hold) -> None:
        """Give a hold back that is not needed; it leaves no trace."""
        await self.accounts.release(hold.call_id, marked=hold.marked)

    async def stream(
        self, request: Request, context: CallContext, *, hold: Hold | None = None
    ) -> AsyncGenerator[StreamEvent, None]:
        """Make the call. Yields Started, deltas, perhaps Retrying, and at last Finished.

        Raises ModelError, BudgetReached, or UsageError for an unknown endpoint, a missing key, or no thinking on a model that always thinks
        (nothing is reserved then). The call uses `hold` up, whatever comes of it. Closing the iterator, or cancelling its task, closes
        the socket and settles the call as cancelled.
        """
        call = await self._begin(request, context, hold)
        try:
            while True:
                event = await call.next()
                yield event
                if isinstance(event, Finished):
                    return
        except BaseException as error:
            await call.fail(error)
            raise
        finally:
            await call.aclose()

    async def reserve(self, model: ModelRef, context: CallContext, bound: Bound, *, sends: bool = False) -> Hold:
        """Reserve a call whose bound is known; `sends`: it follows at once. Raises BudgetReached, or UsageError as `stream` does."""
        sends = sends and self.gate(self.require_key(model.endpoint)).is_free
        return Hold(await self.accounts.reserve(model, context, bound, sends=sends), sends)

    async def relay(self, model: ModelRef, context: CallContext, hold: Hold) -> Relay:
        """For a request that another program has written; it uses `hold` up. Raises UsageError as `stream` does."""
        from agent.llm.relay import Relay

        try:
            endpoint = self.require_key(model.endpoint)
            if (launch := self._launchers.get(endpoint.name)) is not None:
                endpoint = self._endpoints[endpoint.name] = await launch(model.model)
        except BaseException:
            await self.release(hold)
            raise
        return Relay(self, endpoint, model, context, hold)

    async def complete(
        self, request: Request, context: CallContext, *, on_event: Callable[[StreamEvent], None] | None = None
    ) -> Reply:
        """Make the call and wait for its end; raises what `stream` raises."""
        call, told = await self._begin(request, context, None), False
        try:
            while True:
                event = await call.next()
                if on_event is not None:
                    told = True
                    on_event(event)
                    told = False
                if isinstance(event, Finished):
                    return event.reply
        except BaseException as error:
            # What the listener raises is no failure of the call, which is stopped.
            await call.fail(GeneratorExit() if told else error)
            raise
        finally:
            await call.aclose()

    async def told(self, calls: Sequence[tuple[Request, CallContext]]) -> list[Reply | None]:
        """Answers that are stored and come at once, each with its row in the ledger, all in one transaction.

        None stands for what has to be called by itself: another endpoint, one that takes its time, no such answer, a cap to be kept.
        Raises UsageError for an endpoint or a file that is not there.
        """
        from agent.llm.net.replay import told_at_once

        replies: list[Reply | None] = []
        settled: list[tuple[ModelRef, CallContext, Settlement]] = []
        for request, context in calls:
            endpoint = self.endpoint(request.model.endpoint)
            at_once = endpoint.answers and not endpoint.speed and not context.caps
            reply = told_at_once(endpoint, request) if at_once else None
            if reply is not None:
                settled.append(
                    (request.model, context, _settlement(reply, *self.price(endpoint, request.model, reply.usage)))
                )
            replies.append(reply)
        books = iter(zip(settled, await self.accounts.told(settled), strict=True) if settled else ())
        return [None if reply is None else _booked(reply, *next(books)) for reply in replies]

    async def models(self, name: str) -> list[ListedModel]:
        """Ask an endpoint what it offers, and keep the answer in the catalogue. Raises UsageError or ModelError."""
        from agent.llm.models.catalogue import ListedModel
        from agent.llm.net.listing import list_models

        endpoint = self.endpoint(name)
        if endpoint.command:
            return [
                ListedModel(model, facts=facts) for model, facts in endpoint.models.items()
            ]  # a program lists none itself
        if endpoint.answers:
            from agent.llm.net.replay import replay_file

            return [ListedModel(model) for model in replay_file(endpoint.answers).models]
        found = await list_models(self.http, endpoint, self.dialect(endpoint), self.clocks.connect)
        self.catalogue.store(endpoint, found)
        return found

    async def aclose(self) -> None:
        """Close all connections, and the local model's server if one was started."""
        try:
            await self.http.aclose()
        finally:
            if self._on_close is not None:
                await self._on_close()

    async def generation(self, name: str, generation_id: str) -> tuple[Usage | None, int] | None:
        """Usage and nano-dollars of a call of an earlier day, where the endpoint answers for its calls; else None. Raises ModelError."""
        from agent.llm.net.generation import can_tell, look_up

        endpoint = self._endpoints.get(name)
        if endpoint is None or not can_tell(endpoint):
            return None
        return await look_up(self.http, endpoint, self.dialect(endpoint), generation_id, self.clocks.connect)

    # What a call asks of the door

    def headers(self, purpose: Purpose) -> Mapping[str, str]:
        """What a call says of its depth: a panel's calls are one deeper than the process that makes them."""
        return self._depth_headers(purpose in ("reference", "aggregator"))

    def gate(self, endpoint: Endpoint) -> Gate:
        """The queue of an endpoint."""
        if endpoint.name not in self._gates:
            self._gates[endpoint.name] = Gate(endpoint.max_concurrency)
        return self._gates[endpoint.name]

    def dialect(self, endpoint: Endpoint) -> Dialect:
        """The wire format of an endpoint."""
        found = self._dialects.get(endpoint.name)
        return dialect_named(endpoint.dialect) if found is None else found

    def quirks(self, endpoint: Endpoint, model: str) -> frozenset[str]:
        """All peculiarities of a model at an endpoint: from the table, from the endpoint's entry, and learned."""
        from agent.llm.models.quirks import known

        return known(endpoint, model) | self._memory.quirks(endpoint.name, model)

    def learned(self, model: ModelRef, features: frozenset[str]) -> None:
        """Remember refused features, names of the quirk table, and say so."""
        for feature in sorted(features):
            self._memory.learn(model.endpoint, model.model, feature)
        if self._notice is not None:
            what = ", ".join(sorted(features))
            self._notice("quirk_learned", f"{model} refused a feature ({what}); from now on it is asked without")

    def emulates(self, endpoint: Endpoint, model: ModelRef, quirks: frozenset[str]) -> bool:
        """True where tool calls must go through a JSON schema, because the model has none of its own."""
        if not endpoint.native_tools or "no_tools" in quirks:
            return True
        return self.catalogue.facts(endpoint, model.model).native_tools is False

    def _gives_logprobs(self, endpoint: Endpoint, model: ModelRef, facts: ModelFacts) -> bool:
        """What the user or the endpoint's list says of the model goes before what is known of the endpoint; a refusal is learned by itself."""
        known = facts.logprobs
        return "logprobs" in self.quirks(endpoint, model.model) if known is None else known

    def price(
        self, endpoint: Endpoint, model: ModelRef, usage: Usage | None, served: str | None = None
    ) -> tuple[int | None, CostSource]:
        """Nano-dollars for so much usage, and where the figure comes from; `served` is asked where the requested model has no price."""
        if endpoint.free:
            return 0, "local"
        if usage is None or not usage.prompt:
            return None, "unknown"
        from agent.llm.models.prices import cost_nano

        price = self.catalogue.facts(endpoint, model.model).price
        if price is None and served is not None:
            price = self.catalogue.facts(endpoint, served).price
        cost = None if price is None else cost_nano(usage, price)
        return (None, "unknown") if cost is None or cost > LARGEST_NANO else (cost, "prices")

    def lost_cost(self, model: ModelRef) -> int | None:
        """Nano-dollars of a call whose end nobody told: 0 where calls of this model cost nothing, else None (the books keep its bound)."""
        from agent.llm.models.prices import is_nothing

        endpoint = self._endpoints.get(model.endpoint)
        if endpoint is None:  # asked while a call ends, where another error would hide the first
            return None
        price = self.catalogue.facts(endpoint, model.model).price
        return 0 if endpoint.free or (price is not None and is_nothing(price)) else None

    async def _begin(self, request: Request, context: CallContext, hold: Hold | None) -> Call:
        try:
            if context.purpose not in _AS_IT_IS:
                request = _mapped(request, self.redact)
            endpoint = self.require_key(request.model.endpoint)
            launch = self._launchers.get(endpoint.name)
            if launch is not None:
                # Each time: whoever starts a server also notices that it has gone.
                endpoint = self._endpoints[endpoint.name] = await launch(request.model.model)
            facts = self.facts(request.model)
            check_effort(request.model, request.reasoning, facts)
            if context.session and request.cache_key is None:
                request = replace(request, cache_key=context.session)
            if request.logprobs and not self._gives_logprobs(endpoint, request.model, facts):
                request = replace(request, logprobs=0)
            most = facts.max_output
            if most is not None and request.max_tokens > most:
                request = replace(request, max_tokens=most)
            bound = self.bound(request)
            if hold is None:
                hold = await self.reserve(request.model, context, bound, sends=True)
            else:
                await self.accounts.adjust(hold.call_id, context, bound)
        except BaseException:
            if hold is not None:
                await self.release(hold)
            raise
        return Call(self, endpoint, request, context, hold)


def _missing_key(endpoint: Endpoint) -> UsageError:
    from agent.errors import UsageError

    return UsageError(
        f"there is no key for {endpoint.name}: the environment variable {endpoint.api_key_env} is not set",
        remedy=f"export {endpoint.api_key_env}=…, or name another variable as api_key_env under [endpoints.{endpoint.name}] in config.toml",
        kind="missing_key",
    )


def _booked(reply: Reply, row: tuple[ModelRef, CallContext, Settlement], call_id: str) -> Reply:
    """A reply with what its row has: in one copy, because there are a hundred thousand of them."""
    return reply.with_(call_id=call_id, cost_nano=row[2].cost_nano, cost_source=row[2].cost_source)


def _settlement(reply: Reply, cost: int | None, source: CostSource) -> Settlement:
    return Settlement(
        "done",
        usage=reply.usage,
        cost_nano=cost,
        cost_source=source,
        model_served=reply.model_served,
        provider=reply.provider,
    )


def _mapped(request: Request, text: Callable[[str], str]) -> Request:
    """A request with this done to what it tells the model. What the model itself has said stays: its thoughts are bound to it."""
    messages = []
    for message in request.messages:
        parts = message.parts
        if message.role != "assistant":
            parts = tuple(_said(part, text) for part in parts)
        messages.append(message if parts == message.parts else replace(message, parts=parts))
    tail = request.tail and text(request.tail)
    same = tail == request.tail and all(new is old for new, old in zip(messages, request.messages, strict=True))
    return request if same else replace(request, messages=tuple(messages), tail=tail)


def _said(part: Part, text: Callable[[str], str]) -> Part:
    if not isinstance(part, TextPart):
        return part
    said = text(part.text)
    return part if said == part.text else replace(part, text=said)
