"""What is known of models, from lists as the endpoints really give them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.llm.models.catalogue import Catalogue, ListedModel, parse_models, parse_pricing
from agent.llm.models.endpoint import WELL_KNOWN, Endpoint, ModelFacts, Price
from agent.llm.models.learned_quirks import MAX_AGE_S, QuirkMemory

HOUSE = Endpoint("house", "https://house.test/v1")

OPENROUTER = {
    "id": "openai/gpt-5.5",
    "name": "OpenAI: GPT-5.5",
    "context_length": 1_050_000,
    "architecture": {"input_modalities": ["text", "image", "file"]},
    "pricing": {
        "prompt": "0.000005",
        "completion": "0.00003",
        "input_cache_read": "0.0000005",
        "overrides": [
            {"min_prompt_tokens": 272_000, "prompt": "0.00001", "completion": "0.000045"},
            {"min_prompt_tokens": 272_000, "input_cache_read": "0.000001"},
            {"condition": "unknown", "prompt": "0.1"},
        ],
    },
    "top_provider": {"context_length": 400_000, "max_completion_tokens": 128_000},
    "supported_parameters": ["tools", "max_tokens", "logprobs", "top_logprobs"],
}


def test_an_openrouter_entry() -> None:
    (model,) = parse_models(json.dumps({"data": [OPENROUTER, {"no": "id"}, 7]}).encode())
    assert (model.id, model.name) == ("openai/gpt-5.5", "OpenAI: GPT-5.5")
    tier = Price(10.0, 45.0, cached=1.0)
    assert model.facts == ModelFacts(
        context_window=400_000,
        max_output=128_000,
        price=Price(5.0, 30.0, cached=0.5, tiers=((272_000, tier),)),
        native_tools=True,
        images=True,
        logprobs=True,
    )


@pytest.mark.parametrize("pricing", [{}, {"prompt": "-1", "completion": "-1"}, {"prompt": "nan", "completion": "0"}])
def test_a_price_that_depends_is_unknown(pricing: dict[str, str]) -> None:
    assert parse_pricing(pricing) is None


def test_a_price_of_nothing_is_a_price() -> None:
    assert parse_pricing({"prompt": "0", "completion": "0"}) == Price(0.0, 0.0)


def test_other_lists() -> None:
    body = {
        "data": [
            {"id": "groq", "context_window": 131_072, "max_completion_tokens": 32_768},
            {"id": "vllm", "max_model_len": 8_192},
            {"id": "studio", "loaded_context_length": 4_096, "max_context_length": 32_768},
            {"id": "bare", "object": "model", "owned_by": "openai"},
        ]
    }
    windows = {model.id: model.facts.context_window for model in parse_models(json.dumps(body).encode())}
    assert windows == {"groq": 131_072, "vllm": 8_192, "studio": 4_096, "bare": None}
    with pytest.raises(ValueError):
        parse_models(b'{"error": "nothing here"}')


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.lists(st.fixed_dictionaries({}, optional=dict.fromkeys([*OPENROUTER, "meta", "max_tokens"], values))))
def test_no_entry_is_too_odd_to_read_and_to_keep(entries: list[dict[str, object]]) -> None:
    catalogue = Catalogue()
    catalogue.store(HOUSE, parse_models(json.dumps(entries).encode()))
    for model in catalogue.listed(HOUSE):
        price = model.facts.price
        assert price is None or (price.prompt >= 0 and price.completion >= 0)


def test_the_users_word_then_the_list_then_the_snapshot(tmp_path: Path) -> None:
    openrouter = WELL_KNOWN["openrouter"].with_(models={"openai/gpt-5.5": ModelFacts(context_window=99)})
    snapshot = Catalogue(tmp_path).facts(openrouter, "openai/gpt-5.5")
    assert snapshot.context_window == 99 and snapshot.price is not None and snapshot.native_tools is None

    listed = ListedModel("openai/gpt-5.5", None, ModelFacts(1_000, price=Price(7.0, 8.0, None, 2.0), native_tools=True))
    Catalogue(tmp_path, now=lambda: 1_000.0).store(openrouter, [listed])
    again = Catalogue(tmp_path, now=lambda: 1_060.0)
    facts = again.facts(openrouter, "openai/gpt-5.5")
    assert facts == ModelFacts(99, price=Price(7.0, 8.0, None, 2.0), native_tools=True)
    assert again.age(openrouter) == 60.0 and again.listed(openrouter) == [listed]
    # A list from elsewhere says nothing about this address.
    assert again.age(openrouter.with_(base_url="https://elsewhere.test")) is None


@pytest.mark.parametrize(
    "damage",
    [
        "",
        "{",
        "[]",
        '{"v": 1}',
        '{"v": 1, "at": 1, "base_url": "https://house.test/v1", "models": {"m": {"price": "x"}}}',
    ],
)
def test_a_damaged_cache_is_no_cache(tmp_path: Path, damage: str) -> None:
    (tmp_path / "catalogue").mkdir()
    (tmp_path / "catalogue" / "house.json").write_text(damage)
    catalogue = Catalogue(tmp_path)
    assert catalogue.facts(HOUSE, "m") == ModelFacts()
    assert catalogue.listed(HOUSE) == []


def test_lessons_are_kept_merged_and_forgotten(tmp_path: Path) -> None:
    file, clock = tmp_path / "new" / "quirks.json", [1_000.0]
    one, other = (QuirkMemory(file, now=lambda: clock[0]) for _ in range(2))
    assert one.quirks("e", "m") == other.quirks("e", "m") == frozenset()
    one.learn("e", "m", "no_tools")
    other.learn("e", "m", "no_sugar")
    later = QuirkMemory(file, now=lambda: clock[0])
    assert later.quirks("e", "m") == {"no_tools", "no_sugar"}
    assert later.quirks("e", "other") == frozenset()
    clock[0] += MAX_AGE_S + 1
    assert later.quirks("e", "m") == frozenset()
    later.forget("e", "m")
    file.write_text("damaged")
    assert QuirkMemory(file).quirks("e", "m") == frozenset()
    (tmp_path / "file").write_text("")
    unwritable = QuirkMemory(tmp_path / "file" / "quirks.json")
    unwritable.learn("e", "m", "no_tools")
    assert unwritable.quirks("e", "m") == {"no_tools"}
