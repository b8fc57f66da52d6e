"""Money: what a call costs, the most it can cost, and how many tokens a text may have."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.llm.messages import ImagePart, Message, assistant, user
from agent.llm.models.endpoint import WELL_KNOWN, Endpoint, ModelFacts, Price
from agent.llm.models.prices import bound_nano, cost_nano, snapshot
from agent.llm.request import ToolSpec
from agent.llm.stream import Usage
from agent.llm.tokens import estimate_tokens, prompt_bound
from tests.agent.llm.doors import ASK, answer, door

TIERED = Price(5.0, 30.0, 0.5, 6.25, ((200_001, Price(10.0, 45.0, 1.0, 12.5)),))


def test_every_kind_of_token_has_its_rate() -> None:
    assert cost_nano(Usage(prompt=1_000, cached=600, cache_write=300, completion=10), TIERED) == (
        100 * 5_000 + 600 * 500 + 300 * 6_250 + 10 * 30_000
    )
    # No rates for the cache: nothing is known to be cheaper, and what counts tokens that it writes asks a quarter more.
    assert cost_nano(Usage(prompt=1_000, cached=600, cache_write=300), Price(5.0, 30.0)) == 5_000_000 + 300 * 1_250


def test_past_a_threshold_the_whole_call_is_repriced() -> None:
    assert cost_nano(Usage(prompt=200_000), TIERED) == 200_000 * 5_000
    assert cost_nano(Usage(prompt=200_001, completion=1), TIERED) == 200_001 * 10_000 + 45_000


def test_fractions_of_a_nano_are_rounded_once() -> None:
    # 0.0003 dollars a million: 0.3 nano-dollars each.
    assert [cost_nano(Usage(prompt=n), Price(0.0003, 0.0)) for n in (1, 2, 10)] == [0, 1, 3]


rates = st.floats(0, 100).map(lambda rate: round(rate, 4))
prices = st.builds(Price, rates, rates, st.none() | rates, st.none() | rates)
tiered = st.builds(
    lambda base, tiers: replace(base, tiers=tuple(sorted(tiers.items()))),
    prices,
    st.dictionaries(st.integers(1, 400_000), prices, max_size=2),
)
usages = st.builds(
    lambda cached, written, plain, completion: Usage(cached + written + plain, cached, written, completion),
    *(st.integers(0, 200_000) for _ in range(4)),
)


@given(usages, tiered, st.integers(0, 1_000), st.integers(0, 1_000))
def test_a_bound_is_never_below_the_cost(usage: Usage, price: Price, more: int, longer: int) -> None:
    # Where cached tokens cost more than plain ones, which no provider charges, there is nothing to promise.
    sane = all(
        rate.cached is None or rate.cached <= rate.prompt for rate in (price, *(tier for _, tier in price.tiers))
    )
    bound = bound_nano(usage.prompt + more, usage.completion + longer, price)
    assert not sane or 0 <= cost_nano(usage, price) <= bound


def test_the_snapshot_agrees_with_the_library_it_is_made_from() -> None:
    from genai_prices import Usage as TheirUsage
    from genai_prices import calc_price

    noon = datetime.now(UTC)
    for endpoint, provider, model in [
        ("openrouter", "openrouter", "anthropic/claude-opus-4.8"),
        ("openrouter", "openrouter", "openai/gpt-5.5"),
        ("anthropic", "anthropic", "claude-opus-4-8-20260528"),
        ("openai", "openai", "gpt-5.5-2026-04-23"),
        ("gemini", "google", "gemini-3-flash-preview"),
        ("groq", "groq", "openai/gpt-oss-120b"),
        ("moonshot", "moonshotai", "kimi-k2.6"),
    ]:
        facts = snapshot(WELL_KNOWN[endpoint], model)
        assert facts.price is not None, model
        for prompt in (1_000, 272_000, 272_001, 300_000):
            theirs = calc_price(
                TheirUsage(input_tokens=prompt, cache_read_tokens=500, output_tokens=77),
                model,
                provider_id=provider,
                genai_request_timestamp=noon,
            )
            ours = cost_nano(Usage(prompt=prompt, cached=500, completion=77), facts.price)
            assert ours == pytest.approx(float(theirs.total_price) * 1e9, abs=1), (model, prompt)


def test_only_the_real_endpoint_has_list_prices() -> None:
    real = WELL_KNOWN["openai"]
    assert snapshot(real, "gpt-5.5").price is not None
    assert snapshot(real.with_(base_url="https://proxy.test/v1"), "gpt-5.5") == ModelFacts()
    assert snapshot(Endpoint("house", "https://api.openai.com/v1"), "gpt-5.5") == ModelFacts()
    assert snapshot(real, "nothing-like-it") == ModelFacts()


@given(st.text())
def test_an_estimate_holds_for_any_text(text: str) -> None:
    tokens = estimate_tokens(text)
    assert 0 <= tokens <= 2.5 * len(text) + 1
    assert tokens >= len(text) / 4


def test_estimates_by_alphabet() -> None:
    assert estimate_tokens("") == 0
    assert estimate_tokens("four") == 1
    assert estimate_tokens("你好世界") == pytest.approx(6, abs=1)
    assert estimate_tokens("привет мир") == pytest.approx(6, abs=1)
    assert estimate_tokens("🦉" * 10) == pytest.approx(24, abs=1)


def test_a_bound_covers_every_part_of_a_request() -> None:
    tool = ToolSpec("grep", "search " * 50, {"type": "object", "properties": {"pattern": {"type": "string"}}})
    plain = prompt_bound(ASK)
    assert plain >= 20
    for bigger in (
        replace(ASK, tail="advice " * 100),
        replace(ASK, tools=(tool,)),
        replace(ASK, messages=(*ASK.messages, assistant("words " * 100), user("more"))),
        replace(ASK, messages=(Message(role="user", parts=(ImagePart(media_type="image/png", data="AAAA"),)),)),
    ):
        assert prompt_bound(bigger) > plain + 100
    assert prompt_bound(replace(ASK, tools=(tool,)), emulated=True) > prompt_bound(replace(ASK, tools=(tool,)))


def test_the_bound_keeps_within_the_model() -> None:
    it = door(answer())
    bound = it.client.bound(replace(ASK, messages=(user("x" * 1_000_000),), max_tokens=50_000))
    # The window of this model is 10,000 tokens; $1 (or, written to a cache, $1.25) and $2 for a million.
    assert (bound.prompt_tokens, bound.completion_tokens, bound.nano) == (10_000, 10_000, 32_500_000)
    assert door(answer(), endpoint=Endpoint("fake", "http://127.0.0.1:9/v1", free=True)).client.bound(ASK).nano == 0
