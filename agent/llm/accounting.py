"""The seam between the door to the models and the books: reserve before a call, settle after it.

The door (client.py) holds an `Accounts`; `agent.ledger.patient.PatientLedger` is the real one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from typing import Literal, Protocol

from agent.llm.request import ModelRef
from agent.llm.stream import CostSource, Usage
from agent.values import dataclass

Purpose = Literal[
    "main",
    "reference",
    "aggregator",
    "goal_judge",
    "compaction",
    "title",
    "delegate",
    "probe",
    "serve",
    "search",
    "bench",
]
Outcome = Literal["done", "incomplete", "failed", "cancelled", "unknown", "reserved"]
Scope = Literal["run", "turn", "session", "day", "share", "account"]


@dataclass(frozen=True, slots=True)
class Cap:
    """A limit on what all calls of one scope may cost together.

    `share` is a part of a turn: calls with the same `CallContext.share` (a preset's own budget). `account` is a day of one
    `CallContext.account`. `where` says where the user set it, for the error. Nano-dollars and tokens; None means no limit of that kind.
    """

    scope: Scope
    where: str
    nano: int | None = None
    tokens: int | None = None


@dataclass(frozen=True, slots=True)
class CallContext:
    """Who asks, and what limits them. `slot` names the seat on a panel; `share` groups calls under a cap of that scope. `account` is the
    key of `moa serve` that asks, `preset` the panel that it names; both are empty elsewhere."""

    purpose: Purpose
    session: str = ""
    run: str = ""
    turn: str = ""
    iteration: int = 0
    slot: str | None = None
    share: str | None = None
    caps: tuple[Cap, ...] = field(default=())
    account: str = ""
    preset: str = ""


@dataclass(frozen=True, slots=True)
class Bound:
    """The most that a call can cost. `nano` None: the price is unknown (a dollar cap can then hold only through a token cap)."""

    prompt_tokens: int
    completion_tokens: int
    nano: int | None

    @property
    def tokens(self) -> int:
        """Prompt and completion tokens."""
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True)
class Settlement:
    """How a call ended. `usage` None: the endpoint reported none (the reservation's token bound then stays in the books)."""

    outcome: Outcome
    usage: Usage | None = None
    cost_nano: int | None = None
    cost_source: CostSource = "unknown"
    model_served: str | None = None
    provider: str | None = None
    generation_id: str | None = None
    ttft_s: float | None = None
    duration_s: float = 0.0
    retries: int = 0
    error_kind: str | None = None
    error: str | None = None


class Accounts(Protocol):
    """What the door asks of the books. Where these are locked by somebody else, each method waits without holding up the event loop."""

    async def reserve(self, model: ModelRef, context: CallContext, bound: Bound, *, sends: bool = False) -> str:
        """Put a call's upper bound into the books in one immediate transaction and return the call's id. `sends`: its request goes out as
        soon as this is done, so that `sent` is said with it.

        Raises BudgetReached where a cap of `context.caps` leaves no room; nothing is written then.
        """
        ...

    async def adjust(self, call_id: str, context: CallContext, bound: Bound) -> None:
        """Change a reservation to another bound, under the same rules as `reserve`; on BudgetReached the old one stays."""
        ...

    async def sent(self, call_id: str, *, generation_id: str | None = None) -> None:
        """The request has gone out (from here on a crash leaves a bill); later, the provider's id for it."""
        ...

    async def settle(self, call_id: str, settlement: Settlement) -> None:
        """Replace the reservation by what happened. Settling twice is an error in the caller and is ignored."""
        ...

    async def told(self, calls: Sequence[tuple[ModelRef, CallContext, Settlement]]) -> list[str]:
        """Put calls into the books that were answered from a file: nothing was sent and nothing can be owed. Their ids, in order."""
        ...

    async def release(self, call_id: str, *, marked: bool = False) -> None:
        """Take a reservation back that was never sent: it leaves no row. `marked`: it had been said to be sent."""
        ...
