from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import UsageError
from agent.llm.accounting import Bound
from agent.llm.messages import user
from agent.llm.models.endpoint import Endpoint, ModelFacts, Price
from agent.llm.request import ModelRef, Request
from agent.process.depth import depth as depth_of
from moa import preflight
from moa.aggregate import comparer
from moa.preset.preset import Preset
from moa.quote import quote
from moa.store.reading import read
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
    assert [line.who for line in priced.lines] == ["1 a", "2 b", "aggregator", "main, reading it"]
    first = priced.lines[0]
    assert first.low == round((1000 * 0.1 + 800 * 1 + 300 * 10) * 1000), "cached prompt, a new step, short answer"
    assert first.high == (1333 * 1 + 2000 * 10) * 1000, "the door's own bound"
    assert priced.high.nano == sum(line.high or 0 for line in priced.lines) and not priced.high.lower_bound
    shown = priced.view(preflight.receivers(preset_of(TWO), client, MAIN))
    assert shown.title == "p sends the conversation to remote.example, far.example. What a counsel costs"
    assert "wrong tool" in shown.note
    assert shown.rows[-1][1] == "8 counsels"


def test_the_price_is_said_as_a_multiple_of_the_main_model_alone_and_in_seconds() -> None:
    client = Priced(a=Price(1, 10, cached=0.1), b=Price(2, 20), main=Price(5, 25))
    priced = quote(preset_of(TWO), client, VIEW, MAIN, {"remote:a": 2.0, "far:b": 9.0, "remote:main": 3.0})
    assert priced.solo == (((1000 + 8000) * 5 + 800 * 5 + 300 * 25) * 1000)
    assert priced.times_solo == 1 + priced.low.nano / priced.solo
    assert priced.seconds == 9.0 + 3.0
    rows = {row[0]: row[4:] for row in priced.view(()).rows}
    assert rows["one counsel"] == (f"{priced.times_solo:.2f} ×", "12.0 s")
    assert rows["1"] == (f"+{(priced.lines[0].low or 0) / priced.solo:.2f}", "2.0 s")
    assert rows["a turn of 8 calls"] == (f"{priced.times_solo:.2f} ×", "96.0 s")
    quorum = quote(preset_of(f"quorum = 1\n{TWO}"), client, VIEW, MAIN, {"remote:a": 2.0, "far:b": 9.0})
    assert quorum.seconds == 2.0, "the other one is not waited for"
    signal = quote(preset_of(f'cadence = "turn"\n{TWO}'), client, VIEW, MAIN)
    assert signal.view(()).rows[-1][4:] == (f"{1 + (priced.times_solo - 1) / 8:.2f} ×",)


def test_where_none_is_named_the_cheapest_priced_member_compares() -> None:
    two = '[[references]]\nmodel = "remote:a"\n[[references]]\nmodel = "far:b"\nreasoning = "low"\n'
    dear, cheap, unknown = Price(5, 25), Price(1, 2), None
    for a, b, chosen in ((dear, cheap, "b"), (cheap, dear, "a"), (unknown, dear, "b"), (unknown, unknown, "a")):
        model, asked = comparer.seat(preset_of(two), Priced(a=a, b=b), MAIN)
        assert model.model == chosen and asked.reasoning == ("low" if chosen == "b" else None)
    here = preset_of(f'{two}[[references]]\nmodel = "main"\n')
    assert comparer.seat(here, Priced(a=dear, b=dear, main=cheap), MAIN)[0] == MAIN
    assert comparer.seat(preset_of(two), Priced(a=dear, b=cheap), MAIN, deep=True)[0] == MAIN
    deep = preset_of(f'{two}[aggregator]\nreasoning = "high"\ntemperature = 0.1\ndeep = "remote:c"\n')
    model, asked = comparer.seat(deep, Priced(), MAIN, deep=True)
    assert (str(model), asked.reasoning, asked.temperature) == ("remote:c", None, None)


def test_an_unknown_price_stays_unknown() -> None:
    priced = quote(preset_of(TWO), Priced(a=Price(1, 1)), VIEW, MAIN)
    assert priced.lines[1].low is None and priced.lines[1].high is None
    assert priced.low.lower_bound and str(priced.low).startswith("≥ ")
    rows = priced.view(())  # a sum with an unknown in it is shown as a lower bound
    assert rows.rows[1][2:] == ("unknown", "unknown")
    assert "× solo" not in rows.columns and "Not known yet" in rows.note
    assert rows.rows[-1][2].startswith("≥ ")


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
    assert str(priced.high) == "$0" and preflight.receivers(preset, Priced(), None) == ("this machine",)


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ('[[references]]\nmodel = "nowhere:a"\n', "unknown_endpoint", ("p.toml", "references (1)", "nowhere")),
        ('[[references]]\nmodel = "shut:a"\n', "missing_key", ("p.toml", "shut:a", "SHUT_KEY")),
        (f'{TWO}fallback = "shut:a"\n', "missing_key", ("aggregator.fallback", "SHUT_KEY")),
        (f"{TWO}[budget]\nturn_usd = 1.0\n", "unpriced", ("turn_usd", "far:b", "turn_tokens")),
        (f'{TWO}deep = "shut:a"\n', "missing_key", ("aggregator.deep", "SHUT_KEY")),
        (
            '[[references]]\nmodel = "remote:a"\ntools = ["web_search"]\n',
            "preset",
            ("web_search", "references (1)", "read"),
        ),
        ('family = "other"\n[[references]]\nmodel = "remote:main"\n', "family", ("p.toml", "family", "remote:main")),
    ],
)
def test_arming_is_refused_with_file_key_and_remedy(text: str, kind: str, words: tuple[str, ...]) -> None:
    with pytest.raises(UsageError) as caught:
        preflight.check(preset_of(text), Priced(a=Price(1, 1), main=Price(1, 1)), MAIN, tools=("read",))
    assert caught.value.kind == kind
    for word in words:
        assert word in f"{caught.value.message} {caught.value.remedy}"


def test_a_dollar_cap_with_an_unpriced_model_and_a_token_cap_may_be_armed() -> None:
    preflight.check(preset_of(f"{TWO}[budget]\nturn_usd = 1.0\nturn_tokens = 1000\n"), Priced(), MAIN)


@pytest.mark.parametrize(("value", "depth"), [("", 0), ("0", 0), ("1", 1), ("3", 3), ("x", 1), ("-1", 1)])
def test_the_depth_of_this_process(value: str, depth: int) -> None:
    assert depth_of({"MOA_DEPTH": value}) == depth
    assert depth_of({}) == 0


@pytest.mark.parametrize(
    ("main", "member", "refused"),
    [
        ("openrouter:anthropic/claude-opus-5.5", "anthropic:claude-sonnet-5.5", True),
        ("openrouter:~anthropic/claude-opus-latest", "openrouter:~openai/gpt-latest", False),
        ("lab:house", "lab:house", True),
        ("lab:house", "lab:other", False),
        ("lab:house", "openrouter:~openai/gpt-latest", False),
    ],
)
def test_members_of_the_main_models_family_are_refused_and_unknown_families_told(
    main: str, member: str, refused: bool
) -> None:
    preset = preset_of(f'family = "other"\n[[references]]\nmodel = "{member}"\n')
    assert bool(preflight.relatives(preset, ModelRef.parse(main))) is refused
    unknown = [model for model in (main, member) if model.startswith("lab:")]
    assert list(preflight.strangers(preset, ModelRef.parse(main))) == list(dict.fromkeys(unknown))
    assert not preflight.relatives(preset_of(f'[[references]]\nmodel = "{member}"\n'), ModelRef.parse(main))
