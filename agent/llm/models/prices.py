"""What tokens cost: the arithmetic, and a snapshot of list prices that ships with the package (`prices.json`).

The snapshot is made from genai-prices by `python -m agent.llm.models.prices`, because importing that library takes longer than starting this
program. It is read on the first look-up of a model for which nobody told us a price.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from agent.llm.models.endpoint import ModelFacts, Price

if TYPE_CHECKING:
    from agent.llm.models.endpoint import Endpoint
    from agent.llm.stream import Usage

# A rate of one US dollar for a million tokens is 1,000 nano-dollars for one: RATE_SCALE / SCALE.
RATE_SCALE = 1_000_000_000
SCALE = 1_000_000

WRITE_PREMIUM = 1.25
"""What a prompt token that is written to a cache costs, in prompt rates, where no rate is listed: the providers that count such tokens
(Anthropic, OpenAI since GPT-5.6, Alibaba) all ask that much (their pages on prompt caching)."""


def cost_nano(usage: Usage, price: Price) -> int:
    """What a call cost, in nano-dollars.

    Cached and cache-write tokens have their own rates (where none is listed, the plain prompt rate, and `WRITE_PREMIUM` times it);
    once the prompt passes a threshold, the whole call is billed at that tier.
    """
    rate = tier(price, usage.prompt)
    plain = max(0, usage.prompt - usage.cached - usage.cache_write)
    return _sum(
        (plain, rate.prompt),
        (usage.cached, rate.prompt if rate.cached is None else rate.cached),
        (usage.cache_write, _written(rate)),
        (usage.completion, rate.completion),
    )


def bound_nano(prompt: int, completion: int, price: Price) -> int:
    """The most that a call of so many tokens can cost: nothing cached, all of it written to a cache, at the dearest tier within reach."""
    reach = [price, *(rate for start, rate in price.tiers if prompt >= start)]
    dearest_prompt = max(max(rate.prompt, _written(rate)) for rate in reach)
    return _sum((prompt, dearest_prompt), (completion, max(rate.completion for rate in reach)))


def is_nothing(price: Price) -> bool:
    """True where no token of any kind costs anything, at any length."""
    rates = (price, *(rate for _start, rate in price.tiers))
    return not any(rate.prompt or rate.cached or rate.cache_write or rate.completion for rate in rates)


def _written(rate: Price) -> float:
    return rate.prompt * WRITE_PREMIUM if rate.cache_write is None else rate.cache_write


def tier(price: Price, prompt: int) -> Price:
    """The rates that hold for a call with so many prompt tokens."""
    reached = [(start, rate) for start, rate in price.tiers if prompt >= start]
    return max(reached, key=lambda found: found[0])[1] if reached else price


def snapshot(endpoint: Endpoint, model: str) -> ModelFacts:
    """List price and window of a well-known endpoint's model; all None where it is not listed.

    An endpoint that the user pointed elsewhere under a well-known name has no list price. A price that depends on the time of day is
    the dearest of the day.
    """
    from agent.llm.models.endpoint import WELL_KNOWN

    known = WELL_KNOWN.get(endpoint.name)
    if known is None or known.base_url != endpoint.base_url:
        return ModelFacts()
    table = _load().get(endpoint.name)
    if table is None:
        return ModelFacts()
    name = model.lower()
    index = table["exact"].get(name)
    if index is None:
        prefixes = [(len(prefix), at) for prefix, at in table["prefix"].items() if name.startswith(prefix)]
        index = max(prefixes)[1] if prefixes else None
    if index is None:
        return ModelFacts()
    window, *rates = table["rows"][index]
    return ModelFacts(context_window=window, price=price_of(rates))


def price_of(row: Sequence[Any]) -> Price:
    """A price from its stored form: [prompt, completion, cached, cache write, [tier start, …the same four] …]."""
    prompt, completion, cached, cache_write, *tiers = row
    return Price(prompt, completion, cached, cache_write, tuple((start, price_of(rates)) for start, *rates in tiers))


def row_of(price: Price) -> list[Any]:
    """The stored form of a price."""
    rates = [price.prompt, price.completion, price.cached, price.cache_write]
    return [*rates, *([start, *row_of(rate)] for start, rate in price.tiers)]


@cache
def _load() -> dict[str, Any]:
    import json
    from pathlib import Path

    try:
        endpoints = json.loads(Path(__file__).with_name("prices.json").read_bytes())["endpoints"]
    except (OSError, ValueError, KeyError):
        return {}
    return endpoints if isinstance(endpoints, dict) else {}


def _sum(*items: tuple[int, float]) -> int:
    # Whole numbers: floats would lose a nano-dollar here and there, and the sum of the rows is the total. A rate has at most nine decimals.
    scaled = sum(tokens * round(rate * RATE_SCALE) for tokens, rate in items if tokens > 0)
    return max(0, (scaled + SCALE // 2) // SCALE)


if __name__ == "__main__":
    from agent.llm.models.price_list import write

    write()
