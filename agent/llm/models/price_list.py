"""Makes `prices.json` from genai-prices: run `python -m agent.llm.models.prices` after that library has a new release."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

# genai-prices' provider for each endpoint of ours.
PROVIDERS = {
    "openrouter": "openrouter",
    "openai": "openai",
    "anthropic": "anthropic",
    "deepseek": "deepseek",
    "moonshot": "moonshotai",
    "gemini": "google",
    "groq": "groq",
}


def write(path: Path | None = None) -> None:
    """Write the snapshot beside this module, or to `path`."""
    target = path or Path(__file__).with_name("prices.json")
    target.write_text(json.dumps(build(), separators=(",", ":")) + "\n", encoding="utf-8")


def build(now: datetime | None = None) -> dict[str, Any]:
    """The snapshot: rows of [window, prompt, completion, cached, cache write, [tier start, …the same four] …], and names that lead to them."""
    from genai_prices.data import providers

    when = now or datetime.now(UTC)
    by_id = {provider.id: provider for provider in providers}
    return {
        "source": "genai-prices",
        "endpoints": {endpoint: _table(by_id[provider], when) for endpoint, provider in PROVIDERS.items()},
    }


def _table(provider: Any, when: datetime) -> dict[str, Any]:
    exact: dict[str, int] = {}
    prefix: dict[str, int] = {}
    rows: list[list[Any]] = []
    for model in provider.models:
        rates = _rates(model.prices, when)
        # Batch rates are for another interface than the one we call.
        if rates is None or model.id.endswith(":batch"):
            continue
        index = len(rows)
        exact[model.id.lower()] = index
        for clause in getattr(model.match, "or_", [model.match]):
            if hasattr(clause, "equals"):
                exact.setdefault(clause.equals.lower(), index)
            elif hasattr(clause, "starts_with"):
                prefix.setdefault(clause.starts_with.lower(), index)
        rows.append([model.context_window, *rates])
    return {"exact": exact, "prefix": prefix, "rows": rows}


def _rates(prices: Any, when: datetime) -> list[Any] | None:
    if not isinstance(prices, list):
        return _row(prices)
    from genai_prices.types import StartDateConstraint

    dated = [price for price in prices if price.constraint is None or isinstance(price.constraint, StartDateConstraint)]
    current = [price for price in dated if price.constraint is None or price.constraint.active(when)]
    hourly = [price for price in prices if price not in dated]
    rows = [row for price in [*current[-1:], *hourly] if (row := _row(price.prices)) is not None]
    return max(rows, key=lambda row: (row[0], row[1]), default=None)


def _row(price: Any) -> list[Any] | None:
    fields = [
        getattr(price, name, None) for name in ("input_mtok", "output_mtok", "cache_read_mtok", "cache_write_mtok")
    ]
    if fields[0] is None or fields[1] is None:
        return None
    # There a tier holds for prompts of more than `start` tokens, here from its start on.
    starts = sorted({tier.start for field in fields for tier in getattr(field, "tiers", ())})
    return [
        *(_at(field, 0) for field in fields),
        *([start + 1, *(_at(field, start) for field in fields)] for start in starts),
    ]


def _at(field: Any, start: int) -> float | None:
    if field is None:
        return None
    value = getattr(field, "base", field)
    for tier in getattr(field, "tiers", ()):
        if tier.start <= start:
            value = tier.price
    return float(value)
