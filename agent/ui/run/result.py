"""The JSON object that ends a run: contracts.md, "json". One place makes it, for every exit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agent.events import Cost, ErrorInfo, Record, TurnStatus

SCHEMA = 1

EXIT_CODES: dict[TurnStatus, int] = {
    "done": 0,
    "failed": 1,
    "usage": 2,
    "budget": 3,
    "limit": 3,
    "unmet": 3,
    "retryable": 75,
    "interrupted": 130,
}


def result(
    *,
    status: TurnStatus,
    session: str | None = None,
    error: ErrorInfo | None = None,
    text: str = "",
    cost: Cost | None = None,
    calls: Sequence[dict[str, Any]] = (),
    records: Sequence[Record] = (),
    kinds: Sequence[str] = (),
    **more: Any,
) -> dict[str, Any]:
    """The whole object. `kinds` are the record kinds that are always there, as lists (one that is named as a key of ours is left out);
    `calls` are the ledger's rows."""
    usage = {
        key: sum(call[key] or 0 for call in calls)
        for key in ("prompt_tokens", "cached_tokens", "completion_tokens", "reasoning_tokens")
    }
    whole = {
        "schema": SCHEMA,
        "session": session,
        "status": status,
        "error": None if error is None else {"kind": error.kind, "message": error.message, "remedy": error.remedy},
        "text": text,
        "usage": usage,
        "cost": {"usd": cost.usd if cost else 0.0, "lower_bound": bool(cost and cost.lower_bound)},
        "calls": list(calls),
    }
    kept = {kind: [record.data for record in records if record.kind == kind] for kind in kinds if kind not in whole}
    return {**whole, **kept, **more}
