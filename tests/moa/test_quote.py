from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.depth import depth as depth_of
from agent.errors import UsageError
from agent.llm.accounting import Bound
from agent.llm.endpoint import Endpoint, ModelFacts, Price
from agent.llm.messages import user
from agent.llm.request import ModelRef, Request
from moa import arming
from moa.preset import Preset, read
from moa.quote import quote
from tests.support.scripted import ScriptedClient

MAIN = ModelRef("remote", "main")
VIEW = (user("x" * 4000),)


class Priced(ScriptedClient):
    """Prices by model name; an endpoint `here` on this machine that is free, and `shut`, which lacks its key."""

    def __init__(self, **prices: Price | None) -> None:
        super().__init__({})
        self.prices = prices

    def endpoint(self, name: str) -> Endpoint:
        if name == "nowhere":
            raise UsageError("there is no endpoint nowhere", remedy="set [endpoints.nowhere]", kind="unknown_endpoint")
        if name == "here":
            return Endpoint(name, "http://127.0.0.1:1/v1", free=True)
        key = None if name == "shut" else "secret"
        return Endpoint(name, f"https://{name}.example/v1", api_key=key, api_key_env=f"{name.upper()}_KEY")

    def facts(self, model: ModelRef) -> ModelFacts:
        return ModelFacts(price=self.prices.get(model.model))

    def bound(self, request: Request, *, headroom_tokens: int = 0) -> Bound:
        prompt = sum(len(message.text) for message in request.messages) // 3 + len(request.tail or "") // 3
        price = self.prices.get(request.model.model)
        nano = None if price is None else round((prompt * price.prompt + request.max_tokens * price.completion) * 1000)
        return Bound(prompt, request.max_tokens, 0 if request.model.endpoint == "here" else nano)


def preset_of(text: str) -> Preset:
    return read(text, name="p", path=Path("p.toml"))


TWO = '[[references]]\nmodel = "remote:a"\n[[references]]\nmodel = "far:b"\n[aggregator]\nmodel = "main"\n'


def test_a_quote_counts_every_member_and_the_aggregator() -> None:
    client = Priced(a=Price(1, 10, cached=0.1), b=Price(2, 20), main=Price(5, 25))
    priced = quote(preset_of(TWO), client, VIEW, MAIN)
    assert [line.who for line in priced.lines] == ["1 a", "2 b", "aggregator"]
    first = priced.lines[0]
    assert first.low == round((1000 * 0.1 + 300 * 10) * 1000), "cached prompt, short answer"
    assert first.high == (1333 * 1 + 2000 * 10) * 1000, "the door's own bound"
    assert priced.high.nano == sum(line.high or 0 for line in priced.lines) and not priced.high.lower_bound
    shown = priced.view(arming.receivers(preset_of(TWO), client, MAIN))
    assert "remote.example, far.example" in shown.note and "wrong tool" in shown.note
    assert shown.rows[-1][1] == "8 counsels"


def test_an_unknown_price_stays_unknown() -> None:
    priced = quote(preset_of(TWO), Priced(a=Price(1, 1)), VIEW, MAIN)
    assert priced.lines[1].low is None and priced.lines[1].high is None
    assert priced.low.lower_bound and str(priced.low).startswith("≥ ")
    rows = priced.view(())  # a sum with an unknown in it is shown as a lower bound
    assert rows.rows[1][2:] == ("unknown", "unknown") and rows.rows[-1][2].startswith("≥ ")


@given(
    prompt=st.floats(0, 100),
    completion=st.floats(0, 100),
    cached=st.none() | st.floats(0, 100),
    layers=st.integers(1, 4),
)
def test_low_is_never_above_high(prompt: float, completion: float, cached: float | None, layers: int) -> None:
    price = Price(prompt, completion, cached)
    preset = preset_of(f"layers = {layers}\n{TWO}")
    priced = quote(preset, Priced(a=price, b=price, main=price), VIEW, MAIN)
    assert all(0 <= (line.low or 0) <= (line.high or 0) for line in priced.lines)


def test_a_local_panel_costs_nothing_and_sends_nothing_away() -> None:
    preset = preset_of('aggregate = "raw"\n[[references]]\nmodel = "here:a"\n')
    priced = quote(preset, Priced(), VIEW, None)
    assert str(priced.high) == "$0" and arming.receivers(preset, Priced(), None) == ("this machine",)


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ('[[references]]\nmodel = "nowhere:a"\n', "unknown_endpoint", ("p.toml", "references (1)", "nowhere")),
        ('[[references]]\nmodel = "shut:a"\n', "missing_key", ("p.toml", "shut:a", "SHUT_KEY")),
        (f'{TWO}fallback = "shut:a"\n', "missing_key", ("aggregator.fallback", "SHUT_KEY")),
        (f"{TWO}[budget]\nturn_usd = 1.0\n", "unpriced", ("turn_usd", "far:b", "turn_tokens")),
    ],
)
def test_arming_is_refused_with_file_key_and_remedy(text: str, kind: str, words: tuple[str, ...]) -> None:
    with pytest.raises(UsageError) as caught:
        arming.check(preset_of(text), Priced(a=Price(1, 1), main=Price(1, 1)), MAIN)
    assert caught.value.kind == kind
    for word in words:
        assert word in f"{caught.value.message} {caught.value.remedy}"


def test_a_dollar_cap_with_an_unpriced_model_and_a_token_cap_may_be_armed() -> None:
    arming.check(preset_of(f"{TWO}[budget]\nturn_usd = 1.0\nturn_tokens = 1000\n"), Priced(), MAIN)


@pytest.mark.parametrize(("value", "depth"), [("", 0), ("0", 0), ("1", 1), ("3", 3), ("x", 1), ("-1", 1)])
def test_the_depth_of_this_process(value: str, depth: int) -> None:
    assert depth_of({"MOA_DEPTH": value}) == depth
    assert depth_of({}) == 0
