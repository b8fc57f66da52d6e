"""What is seen of requests and calls, told to figures, spans and log."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from moa.serve.seen import log

if TYPE_CHECKING:
    from agent.llm.accounting import Accounts, Bound, CallContext, Settlement
    from agent.llm.request import ModelRef
    from moa.serve.counsel.served import Served
    from moa.serve.keys.account import Account
    from moa.serve.names import Named
    from moa.serve.seen.metrics import Metrics
    from moa.serve.seen.spans import Spans

UPSTREAM = "upstream"
"""The error of a refusal that was passed on as it came."""
GONE = 499
"""The status of a request whose client has left before there was one."""


class Read(Protocol):
    """What is seen of a request that was read: a `moa.serve.server.Call`."""

    run: str
    named: Named
    served: Served
    base: CallContext


@dataclass(slots=True)
class Seen:
    """Of one process. `logs`: a line for each request."""

    metrics: Metrics
    spans: Spans | None = None
    logs: bool = False

    def begin(self, method: str, path: str, wire: str, headers: Mapping[str, str]) -> Request:
        """A request has come."""
        self.metrics.running.inc()
        span = None if self.spans is None else self.spans.request(method, path, headers)
        return Request(self, path, wire, span)


@dataclass(slots=True)
class Request:
    """One request, from its head to the end of its answer. `account`, `call` and `error` as far as it came."""

    seen: Seen
    path: str
    wire: str
    span: Any
    account: Account | None = None
    call: Read | None = None
    error: str | None = None
    _began: float = field(default_factory=time.monotonic)

    def current(self) -> AbstractContextManager[Any]:
        """What is begun within belongs to it."""
        spans = self.seen.spans
        return nullcontext() if spans is None else spans.current(self.span)

    def end(self, status: int) -> None:
        """It is over. 0: the client has left before anything was said."""
        status, seconds, metrics = status or GONE, time.monotonic() - self._began, self.seen.metrics
        call = self.call
        preset = call.base.preset if call is not None else ""
        said = call.served.said.partition(";")[0] if call is not None and preset else None
        metrics.requests.labels(self.wire, str(status)).inc()
        metrics.request_seconds.labels(self.wire, preset).observe(seconds)
        if call is not None and said is not None and not call.served.asked.counting:
            metrics.counsel.labels(preset, said).inc()
            taken = (call.served.row.counsel or {}) if call.served.row is not None else {}
            if said in ("taken", "silent", "withheld") and isinstance(took := taken.get("duration_s"), int | float):
                metrics.counsel_seconds.labels(preset).observe(took)
        metrics.running.dec()
        if self.seen.spans is None and not self.seen.logs:
            return
        facts: dict[str, Any] = {"wire": self.wire}
        if call is not None:
            facts |= {"run": call.run, "preset": preset, "model": str(call.named.main), "counsel": said or ""}
        if self.seen.spans is not None:
            self.seen.spans.answered(self.span, status, facts)
        if self.seen.logs:
            key = None if self.account is None else self.account.name
            more = {
                "path": self.path,
                "status": status,
                "duration_s": round(seconds, 3),
                "error": self.error or (UPSTREAM if status >= 400 else None),
            }
            log.line({"event": "request", "key": key, **facts, **more})


@dataclass(slots=True)
class _Open:
    model: ModelRef
    context: CallContext
    where: Any
    began_ns: int


@dataclass(slots=True)
class Watched:
    """The books of a client of models, and somebody who looks on: an `agent.llm.accounting.Accounts`."""

    books: Accounts
    seen: Seen
    _open: dict[str, _Open] = field(default_factory=dict)

    async def reserve(self, model: ModelRef, context: CallContext, bound: Bound, *, sends: bool = False) -> str:
        """As the books do it."""
        call_id = await self.books.reserve(model, context, bound, sends=sends)
        where = None if self.seen.spans is None else self.seen.spans.here()
        self._open[call_id] = _Open(model, context, where, time.time_ns())
        return call_id

    async def adjust(self, call_id: str, context: CallContext, bound: Bound) -> None:
        """As the books do it. From here on it is this context's: a hold was made before it was known."""
        await self.books.adjust(call_id, context, bound)
        if (found := self._open.get(call_id)) is not None:
            found.context = context

    async def sent(self, call_id: str, *, generation_id: str | None = None) -> None:
        """As the books do it."""
        if generation_id is None and (found := self._open.get(call_id)) is not None:
            found.began_ns = time.time_ns()
        await self.books.sent(call_id, generation_id=generation_id)

    async def settle(self, call_id: str, settlement: Settlement) -> None:
        """As the books do it."""
        if (found := self._open.pop(call_id, None)) is not None:
            self._told(found, settlement)
        await self.books.settle(call_id, settlement)

    async def told(self, calls: Sequence[tuple[ModelRef, CallContext, Settlement]]) -> list[str]:
        """As the books do it."""
        return await self.books.told(calls)

    async def release(self, call_id: str, *, marked: bool = False) -> None:
        """As the books do it."""
        self._open.pop(call_id, None)
        await self.books.release(call_id, marked=marked)

    def _told(self, call: _Open, settled: Settlement) -> None:
        if settled.outcome in ("done", "incomplete"):
            metrics = self.seen.metrics
            labels = (call.context.purpose, str(call.model), call.context.preset)
            metrics.call_seconds.labels(*labels).observe(settled.duration_s)
            if settled.ttft_s is not None:
                metrics.first_seconds.labels(*labels).observe(settled.ttft_s)
        if self.seen.spans is not None:
            self.seen.spans.call(call.where, call.model, call.context, settled, call.began_ns, time.time_ns())
