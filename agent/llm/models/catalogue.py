"""What is known of each model: the user's own entry, then the endpoint's list as last seen, then the price snapshot."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import field
from typing import TYPE_CHECKING, Any, NamedTuple

from agent.llm.models.endpoint import ModelFacts, Price
from agent.llm.models.families import EFFORTS
from agent.llm.models.prices import price_of, row_of, snapshot
from agent.text import foreign_json
from agent.values import dataclass

if TYPE_CHECKING:
    from pathlib import Path

    from agent.llm.models.endpoint import Endpoint
    from agent.llm.request import Effort

VERSION = 1
MOST_KNOWN = 1024
FACTS = ("context_window", "max_output", "price", "native_tools", "images", "tool_rounds", "efforts", "logprobs")


@dataclass(frozen=True, slots=True)
class ListedModel:
    """One model as its endpoint lists it."""

    id: str
    name: str | None = None
    facts: ModelFacts = field(default_factory=ModelFacts)


class Catalogue:
    """Model facts, with the endpoints' lists kept in a folder (`None`: in memory). `now` is the clock, Unix seconds.

    It is a cache: a damaged or unwritable file counts as not there.
    """

    def __init__(self, folder: Path | None = None, *, now: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._now = now
        self._lists: dict[str, _Stored] = {}
        self._known: dict[tuple[str, str], _Known] = {}

    def facts(self, endpoint: Endpoint, model: str) -> ModelFacts:
        """All that is known, field by field: the user's entry > the endpoint's list > the price snapshot."""
        stored = self._stored(endpoint)
        kept = self._known.get((endpoint.name, model))
        if kept is not None and kept.endpoint is endpoint and kept.stored is stored:
            return kept.facts
        facts = self._found(endpoint, model, stored)
        if len(self._known) >= MOST_KNOWN:  # a server may call its model what it likes
            self._known.clear()
        self._known[endpoint.name, model] = _Known(endpoint, stored, facts)
        return facts

    def _found(self, endpoint: Endpoint, model: str, stored: _Stored | None) -> ModelFacts:
        known = endpoint.models.get(model, ModelFacts())
        listed = _listed(stored.models[model]) if stored is not None and model in stored.models else None
        if listed is not None:
            known = merge(known, listed.facts)
        return known if endpoint.free or known.price is not None else merge(known, snapshot(endpoint, model))

    def listed(self, endpoint: Endpoint) -> list[ListedModel]:
        """The endpoint's list as last seen; empty where it was never asked."""
        stored = self._stored(endpoint)
        entries = [] if stored is None else stored.models.values()
        return [model for entry in entries if (model := _listed(entry)) is not None]

    def age(self, endpoint: Endpoint) -> float | None:
        """Seconds since the endpoint was asked for its list; None where it never was."""
        stored = self._stored(endpoint)
        return None if stored is None else max(0.0, self._now() - stored.at)

    def store(self, endpoint: Endpoint, models: Iterable[ListedModel]) -> None:
        """Keep an endpoint's list."""
        entries = {model.id: _entry(model) for model in models}
        self._lists[endpoint.name] = stored = _Stored(self._now(), endpoint.base_url, entries)
        if self._folder is None:
            return
        from agent.llm.models.cache_file import replace_file

        value = {"v": VERSION, "at": stored.at, "base_url": stored.base_url, "models": entries}
        replace_file(self._path(self._folder, endpoint), json.dumps(value, ensure_ascii=False))

    def _stored(self, endpoint: Endpoint) -> _Stored | None:
        stored = self._lists.get(endpoint.name)
        if stored is None and self._folder is not None:
            stored = self._lists[endpoint.name] = self._read(self._path(self._folder, endpoint))
        # A list from another address says nothing about this one.
        return stored if stored is not None and stored.base_url == endpoint.base_url else None

    @staticmethod
    def _path(folder: Path, endpoint: Endpoint) -> Path:
        safe = "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in endpoint.name)
        return folder / "catalogue" / f"{safe}.json"

    @staticmethod
    def _read(path: Path) -> _Stored:
        try:
            found = foreign_json.loads(path.read_bytes())
            if found["v"] != VERSION:
                raise ValueError("written by another version of the program")
            models = {str(key): entry for key, entry in found["models"].items() if isinstance(entry, dict)}
            return _Stored(float(found["at"]), str(found["base_url"]), models)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return _Stored(0.0, "", {})


@dataclass(frozen=True, slots=True)
class _Stored:
    at: float
    base_url: str
    # As they are on disk: a list has hundreds of models, of which a run asks for a handful.
    models: dict[str, dict[str, Any]]


class _Known(NamedTuple):
    """What was found for a model, and from what."""

    endpoint: Endpoint
    stored: _Stored | None
    facts: ModelFacts


def merge(first: ModelFacts, then: ModelFacts) -> ModelFacts:
    """Each fact from the first that has it."""
    return ModelFacts(
        **{name: getattr(first, name) if getattr(first, name) is not None else getattr(then, name) for name in FACTS}
    )


def parse_models(body: bytes) -> list[ListedModel]:
    """Read the answer to `GET /models`: OpenRouter's, Groq's, Anthropic's, vLLM's, LM Studio's, or a bare OpenAI list.

    Raises ValueError where it is no such list. Fields that we can't read count as unknown, and models without an id are left out.
    """
    found = foreign_json.loads(body)
    entries = found.get("data", found.get("models")) if isinstance(found, Mapping) else found
    if not isinstance(entries, list):
        raise ValueError("no list of models")
    models = (_parse(entry) for entry in entries if isinstance(entry, Mapping))
    return [model for model in models if model is not None]


def _parse(entry: Mapping[str, Any]) -> ListedModel | None:
    id_ = entry.get("id") or entry.get("model") or entry.get("name")
    if not isinstance(id_, str):
        return None
    top = _mapping(entry.get("top_provider"))
    meta = _mapping(entry.get("meta"))
    inputs = _mapping(entry.get("architecture")).get("input_modalities")
    listed = entry.get("supported_parameters")
    parameters = listed if isinstance(listed, list) and listed else None
    # What the provider that serves it takes is less than what the model could: the smallest figure holds.
    windows = [
        _count(value)
        for value in (
            entry.get("context_length"),
            top.get("context_length"),
            entry.get("context_window"),
            entry.get("max_model_len"),
            entry.get("loaded_context_length"),
            entry.get("max_input_tokens"),
            meta.get("n_ctx"),
        )
    ]
    outputs = (
        top.get("max_completion_tokens"),
        entry.get("max_completion_tokens"),
        entry.get("max_tokens"),
        entry.get("max_output_tokens"),
    )
    name = entry.get("name") or entry.get("display_name")
    return ListedModel(
        id_,
        name if isinstance(name, str) and name != id_ else None,
        ModelFacts(
            context_window=min((window for window in windows if window), default=None),
            max_output=next((count for value in outputs if (count := _count(value))), None),
            price=parse_pricing(_mapping(entry.get("pricing"))),
            native_tools=None if parameters is None else "tools" in parameters,
            images="image" in inputs if isinstance(inputs, list) else None,
            efforts=_efforts(_mapping(entry.get("reasoning"))),
            logprobs=None if parameters is None else "logprobs" in parameters,
        ),
    )


def _efforts(reasoning: Mapping[str, Any]) -> tuple[Effort, ...] | None:
    """OpenRouter's `reasoning` of a model: `mandatory`, and `supported_efforts`, without which every level is taken."""
    if not isinstance(reasoning.get("mandatory"), bool):
        return None
    listed = reasoning.get("supported_efforts")
    taken = tuple(level for level in EFFORTS if not isinstance(listed, list) or level in listed)
    without = tuple(level for level in taken if level != "none")
    return without if reasoning["mandatory"] else ("none", *without)


def parse_pricing(pricing: Mapping[str, Any]) -> Price | None:
    """OpenRouter's `pricing`: strings, US dollars per token; `overrides` are tiers by `min_prompt_tokens`, which inherit what they leave out.

    None where a rate is missing or -1, which there means that it depends on where the call is routed.
    """
    base = _rates(pricing, {})
    price = _price(base)
    if price is None:
        return None
    tiers: dict[int, dict[str, float | None]] = {}
    overrides = pricing.get("overrides")
    for override in overrides if isinstance(overrides, list) else ():
        start = _count(_mapping(override).get("min_prompt_tokens"))
        if start:
            tiers[start] = _rates(override, tiers.get(start, base))
    steps = tuple((start, step) for start, rates in sorted(tiers.items()) if (step := _price(rates)) is not None)
    return Price(price.prompt, price.completion, price.cached, price.cache_write, steps)


RATES = {
    "prompt": "prompt",
    "completion": "completion",
    "cached": "input_cache_read",
    "cache_write": "input_cache_write",
}


def _rates(pricing: Mapping[str, Any], inherited: Mapping[str, float | None]) -> dict[str, float | None]:
    return {
        ours: _per_million(pricing[theirs]) if theirs in pricing else inherited.get(ours)
        for ours, theirs in RATES.items()
    }


def _price(rates: Mapping[str, float | None]) -> Price | None:
    prompt, completion = rates["prompt"], rates["completion"]
    if prompt is None or completion is None:
        return None
    return Price(prompt, completion, rates["cached"], rates["cache_write"])


def _per_million(value: object) -> float | None:
    try:
        rate = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    # Written so that NaN fails, too.
    return round(rate * 1e6, 9) if 0 <= rate < 1 else None


def _count(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e12:
        return None
    return int(value)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _entry(model: ListedModel) -> dict[str, Any]:
    facts = model.facts
    entry: dict[str, Any] = {"id": model.id, "name": model.name}
    entry |= {name: getattr(facts, name) for name in FACTS if name != "price" and getattr(facts, name) is not None}
    if facts.price is not None:
        entry["price"] = row_of(facts.price)
    return entry


def _listed(entry: Mapping[str, Any]) -> ListedModel | None:
    try:
        price = price_of(entry["price"]) if "price" in entry else None
        facts = {name: entry.get(name) for name in FACTS if name != "price"}
        if facts["efforts"] is not None:
            facts["efforts"] = tuple(facts["efforts"])
        return ListedModel(entry["id"], entry.get("name"), ModelFacts(price=price, **facts))
    except (KeyError, TypeError, ValueError):
        return None
