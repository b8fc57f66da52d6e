"""What the ledger answers: one call, or a sum over calls. Not imported before somebody asks, for start-up's sake."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal

from agent.ledger.schema import COUNTERS, KEY
from agent.llm.accounting import Outcome, Purpose
from agent.llm.money import NANO, Total
from agent.llm.stream import CostSource, Usage

Grouping = Literal["session", "model", "role", "day"]
_ROLES = {"reference": "member", "goal_judge": "goal judge"}


def role_in_words(role: str) -> str:
    """`reference/2`, as the rows have it, as people read it: `member 2`."""
    purpose, _, slot = role.partition("/")
    return f"{_ROLES.get(purpose, purpose)} {slot}".strip()


@dataclass(frozen=True, slots=True)
class CallRow:
    """One call, as the books have it. None is unknown. Times are Unix seconds, durations seconds, money nano-dollars.

    `reserved_*` is the bound that was set aside; it stays what counts against caps where no figure came back. `error` has been
    redacted.
    """

    id: str
    purpose: Purpose
    slot: str | None
    share: str | None
    session: str
    run: str
    turn: str
    iteration: int
    day: str
    endpoint: str
    model_requested: str
    model_served: str | None
    provider: str | None
    generation_id: str | None
    prompt_tokens: int | None
    cached_tokens: int | None
    cache_write_tokens: int | None
    completion_tokens: int | None
    reasoning_tokens: int | None
    reserved_tokens: int
    reserved_nano: int | None
    cost_nano: int | None
    cost_source: CostSource
    ttft_s: float | None
    duration_s: float | None
    outcome: Outcome
    retries: int
    error_kind: str | None
    error: str | None
    started: float
    sent: float | None
    ended: float | None
    preset: str = ""

    @property
    def usage(self) -> Usage | None:
        """Tokens by kind; None where the endpoint reported none."""
        if self.prompt_tokens is None:
            return None
        return Usage(
            self.prompt_tokens,
            self.cached_tokens or 0,
            self.cache_write_tokens or 0,
            self.completion_tokens or 0,
            self.reasoning_tokens or 0,
        )

    def as_json(self) -> dict[str, object]:
        """The call as `calls[]` has it in the program's JSON output: US dollars and seconds, null for unknown."""
        return {
            "id": self.id,
            "purpose": self.purpose,
            "slot": self.slot,
            "endpoint": self.endpoint,
            "model_requested": self.model_requested,
            "model_served": self.model_served,
            "provider": self.provider,
            "generation_id": self.generation_id,
            "prompt_tokens": self.prompt_tokens,
            "cached_tokens": self.cached_tokens,
            "cache_write_tokens": self.cache_write_tokens,
            "completion_tokens": self.completion_tokens,
            "reasoning_tokens": self.reasoning_tokens,
            "cost_usd": None if self.cost_nano is None else self.cost_nano / NANO,
            "cost_source": self.cost_source,
            "ttft_s": self.ttft_s,
            "duration_s": self.duration_s,
            "outcome": self.outcome,
            "retries": self.retries,
            "error": None if self.error_kind is None else {"kind": self.error_kind, "message": self.error},
            "session": self.session,
            "run": self.run,
            "turn": self.turn,
            "iteration": self.iteration,
            "started": self.started,
            "ended": self.ended,
        }


COLUMNS = ", ".join(field.name for field in fields(CallRow))
"""The columns of a `CallRow`, in its order."""


@dataclass(frozen=True, slots=True)
class Sum:
    """A group of calls. `unfinished` counts those that did not end as done; `unreported` those whose tokens nobody reported (then
    `usage` is a lower bound). `duration_s` is the sum of the calls' own times, which may have run side by side."""

    key: str
    calls: int
    unfinished: int
    unreported: int
    total: Total
    usage: Usage
    duration_s: float


GROUPS: dict[Grouping, tuple[str, str]] = {
    "session": ("session", "max(latest)"),
    "model": ("endpoint || ':' || model_requested", "sum(cost_nano) DESC, 1"),
    "role": ("purpose || coalesce('/' || nullif(slot, ''), '')", "sum(cost_nano) DESC, 1"),
    "day": ("day", "1"),
}
"""For each grouping: the key as SQL, and the order of the groups (the dearest first; newest sessions and days last)."""

_KEPT = f"SELECT {', '.join(KEY)}, latest, {', '.join(COUNTERS)} FROM sums"
_COUNTED = (
    f"SELECT {', '.join(KEY)}, started AS latest, "
    + ", ".join(f"{share.format(row='')} AS {name}" for name, share in COUNTERS.items())
    + " FROM calls"
)


def sums_query(by: Grouping | None, counted: str | None, kept: str | None) -> str:
    """The query whose rows `sum_of` reads: over the calls where `counted` holds, and the kept sums (which know no run, turn or time)
    where `kept` does; None: over none of them."""
    key, order = GROUPS[by] if by else ("''", "1")
    counters = ", ".join(f"coalesce(sum({name}), 0)" for name in COUNTERS)
    parts = [f"{part} WHERE {where}" for part, where in ((_COUNTED, counted), (_KEPT, kept)) if where is not None]
    query = f"SELECT {key}, {counters} FROM ({' UNION ALL '.join(parts)}) AS counted"
    return f"{query} GROUP BY 1 HAVING sum(calls) > 0 ORDER BY {order}" if by else query


def sum_of(row: tuple[Any, ...]) -> Sum:
    """A row of `sums_query`."""
    key, calls, unfinished, unreported, nano, known, prompt, cached, cache_write, completion, reasoning, duration = row
    usage = Usage(prompt, cached, cache_write, completion, reasoning)
    return Sum(key, calls, unfinished, unreported, Total(nano, known, calls - known), usage, duration_s=duration)
