"""The one door to models: every call of every kind goes through `ModelClient`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agent.llm.accounting import Bound, CallContext
    from agent.llm.endpoint import Endpoint, ModelFacts
    from agent.llm.request import ModelRef, Request
    from agent.llm.stream import Reply, StreamEvent


@dataclass(frozen=True, slots=True)
class Clocks:
    """Seconds. `silence` is the time without a semantic event (keep-alive comments do not count); `ceiling` is for a whole call."""

    connect: float = 10.0
    silence: float = 180.0
    ceiling: float = 1800.0


@dataclass(slots=True)
class Hold:
    """A reservation that was made ahead of its call, so that nothing else can spend it."""

    call_id: str


class ModelClient:
    """INTERFACE; see the helper's brief."""

    def endpoint(self, name: str) -> Endpoint:
        """Raises UsageError for an unknown one, naming the nearest and where endpoints are set."""
        raise NotImplementedError

    def facts(self, model: ModelRef) -> ModelFacts:
        """What is known: the user's entry, then the endpoint's catalogue as last seen, then the price snapshot."""
        raise NotImplementedError

    def bound(self, request: Request) -> Bound:
        """The most that this call can cost."""
        raise NotImplementedError

    def hold(self, request: Request, context: CallContext) -> Hold:
        """Reserve a call ahead of time. Raises BudgetReached."""
        raise NotImplementedError

    def release(self, hold: Hold) -> None:
        """Give a hold back that is not needed; it leaves no trace."""
        raise NotImplementedError

    def stream(self, request: Request, context: CallContext, *, hold: Hold | None = None) -> AsyncIterator[StreamEvent]:
        """Make the call. Yields Started, deltas, and at last Finished; raises ModelError or BudgetReached.

        Closing the iterator, or cancelling its task, closes the socket and settles the call as cancelled.
        """
        raise NotImplementedError

    async def complete(
        self, request: Request, context: CallContext, *, on_event: Callable[[StreamEvent], None] | None = None
    ) -> Reply:
        """Make the call and wait for its end."""
        raise NotImplementedError

    async def aclose(self) -> None:
        """Close all connections, and the local model's server if one was started."""
        raise NotImplementedError
