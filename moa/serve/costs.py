"""What a request has cost, its panel included, as its answer says it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from agent.ledger.patient import AFTER_S
from agent.llm.money import NANO, Total

if TYPE_CHECKING:
    from moa.serve.server import Call


async def costs(call: Call, own: int | None, call_id: str) -> dict[str, Any]:
    """What joins the `usage` of an answer: `cost` in US dollars, and whose it was. `own` is what the answer itself costs, nano-dollars
    (None: unknown). Unknown is never zero: what is known of a sum is a lower bound, and said to be."""
    ledger = call.server.ledger
    rows = await ledger.patiently(partial(ledger.calls, run=call.run), AFTER_S)
    others = Total.of(row.cost_nano for row in rows if row.id != call_id)
    total = others.plus(own)
    return {
        "cost": total.usd,
        "cost_details": {
            "main": None if own is None else own / NANO,
            "counsel": others.usd,
            "calls": 1 + others.known + others.unknown,
            "lower_bound": total.lower_bound,
        },
    }


def joined(wire: str, payload: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """An event, or a whole answer, with `more` in its usage; itself where it has none."""
    response = payload.get("response")
    if wire == "responses" and isinstance(response, dict):
        inner = joined("", response, more)
        return payload if inner is response else {**payload, "response": inner}
    usage = payload.get("usage")
    if not isinstance(usage, dict) or not usage:
        return payload
    details = usage.get("cost_details")
    both = {**details, **more["cost_details"]} if isinstance(details, dict) else more["cost_details"]
    return {**payload, "usage": {**usage, **more, "cost_details": both}}
