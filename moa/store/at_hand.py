"""Which models could sit on a panel here: those of the endpoints that are open, and of the servers that run on this machine."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from agent.errors import UsageError
from agent.llm.errors import ModelError
from agent.llm.models.endpoint import WELL_KNOWN
from agent.llm.request import ModelRef
from moa.panel.names import family, related

if TYPE_CHECKING:
    from agent.config.config import Config
    from agent.llm.client import ModelClient
    from agent.llm.models.endpoint import Endpoint, Price

LIST_S = 6.0
"""Seconds that an endpoint has to say what it offers; without its list the main model and the endpoint's default are offered."""
MOST_MODELS = 40
MOST_TICKED = 3


@dataclass(frozen=True, slots=True)
class Offered:
    """A model that can be called here. `free`: its endpoint takes no money."""

    ref: ModelRef
    price: Price | None = None
    free: bool = False

    @property
    def note(self) -> str:
        """Its price, for people."""
        if self.free:
            return "free"
        if self.price is None:
            return "price unknown"
        return f"${self.price.prompt:g} in, ${self.price.completion:g} out per million tokens"

    @property
    def cost(self) -> float | None:
        """What models are compared by: US dollars for a million tokens of answer."""
        return 0.0 if self.free else None if self.price is None else self.price.completion


@dataclass(frozen=True, slots=True)
class AtHand:
    """What was found. `new` are endpoints of running servers that the settings do not have at that address; `problems` say who gave no
    list, and why."""

    models: tuple[Offered, ...] = ()
    new: Mapping[str, Endpoint] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


async def look(client: ModelClient, config: Config, main: ModelRef | None) -> AtHand:
    """Ask every endpoint that is open, all at once, and the usual ports of this machine. Sends no words of the conversation."""
    from agent.admin import setup
    from agent.local.discover import discover

    running = [server for server in await discover(1.0) if server.models]
    found = {endpoint.name: endpoint for endpoint in (setup.of_found(server, config) for server in running)}
    names = [name for name, endpoint in config.endpoints.items() if _open(name, endpoint) and name not in found]
    lists = await asyncio.gather(*(_listed(client, name, main) for name in names))
    models = [model for listed, _ in lists for model in listed]
    for endpoint, server in zip(found.values(), running, strict=False):
        names = setup.chat_models(server.models)
        models += [Offered(ModelRef(endpoint.name, name), free=endpoint.free) for name in names]
    new = {name: each for name, each in found.items() if config.endpoints.get(name, each).base_url != each.base_url}
    new |= {name: each for name, each in found.items() if name not in config.endpoints}
    return AtHand(tuple(models), new, tuple(problem for _, problem in lists if problem))


def _open(name: str, endpoint: Endpoint) -> bool:
    """Whether it can be called with what is configured: it has its key, or the user has described it and it needs none."""
    if name == "local":
        return False
    if endpoint.api_key is not None:
        return True
    return endpoint.api_key_env is None and endpoint != WELL_KNOWN.get(name)


async def _listed(client: ModelClient, name: str, main: ModelRef | None) -> tuple[list[Offered], str]:
    """The chat models of an endpoint, the best first; where it gives no list, those that are known without one, and why."""
    from agent.admin import setup
    from agent.config.config import DEFAULT_MODELS

    problem, known = "", [str(main)] if main is not None and main.endpoint == name else []
    try:
        async with asyncio.timeout(LIST_S):
            listed = await client.models(name)
        ids = setup.chat_models(setup.ranked(client.endpoint(name), listed))
    except TimeoutError:
        ids, problem = [], f"{name} has not listed its models within {LIST_S:g} s"
    except (ModelError, UsageError) as error:
        ids, problem = [], f"{name} lists no models: {error.message}"
    if not ids:
        known += [model for model in (DEFAULT_MODELS.get(name),) if model]
    refs = [*(ModelRef(name, each) for each in ids), *(ModelRef.parse(each) for each in known)]
    free = client.endpoint(name).free
    return [Offered(ref, client.facts(ref).price, free) for ref in dict.fromkeys(refs)], problem


# Which of them


def newest(models: Iterable[Offered]) -> list[Offered]:
    """Of each line of an endpoint's models the newest (of three Opus the last one), in the order in which the lines come."""
    lines: dict[tuple[str, str], Offered] = {}
    for model in models:
        key = (model.ref.endpoint, _line(model.ref.model))
        if key not in lines or _version(model.ref.model) > _version(lines[key].ref.model):
            lines[key] = model
    return list(lines.values())


def in_order(models: Iterable[Offered]) -> list[Offered]:
    """At most `MOST_MODELS`: of each line the newest first, then the others."""
    every = list(models)
    first = newest(every)
    return [*first, *(model for model in every if model not in first)][:MOST_MODELS]


def sensible(models: Iterable[Offered], main: ModelRef | None) -> list[Offered]:
    """Whom to tick at first: other families than the main model's before its own, no dearer than it, of each line the newest."""
    every = list(models)
    own = next((model.cost for model in every if model.ref == main), None)
    line = None if main is None else (main.endpoint, _line(main.model))
    left = [each for each in newest(every) if each.ref != main and (each.ref.endpoint, _line(each.ref.model)) != line]
    left = [each for each in left if own is None or each.cost is None or each.cost <= own]
    left.sort(
        key=lambda each: (main is not None and related(str(each.ref), str(main)), each.cost is None, -(each.cost or 0))
    )
    chosen: list[Offered] = []
    for fresh in (True, False):  # a family once, before one comes twice
        for each in left:
            houses = {family(str(other.ref)) for other in chosen}
            if len(chosen) < MOST_TICKED and each not in chosen and not (fresh and family(str(each.ref)) in houses):
                chosen.append(each)
    return chosen


_PARTS = re.compile(r"[-_.:/@~ ]+")
_NUMBERED = re.compile(r"[a-z]?\d[\d.]*[a-z]?|latest|preview|exp")


def _line(name: str) -> str:
    """A model's name without its version: `claude opus` for claude-opus-5-5."""
    words = [word for word in _PARTS.split(name.lower()) if word and not _NUMBERED.fullmatch(word)]
    return " ".join(words) or name.lower()


def _version(name: str) -> tuple[int, ...]:
    """What of two models of a line is the newer one; a bare alias is the newest, and a date says less than a number."""
    numbers = tuple(int(number) for number in re.findall(r"\d+", name) if len(number) < 6)
    return numbers or (10**6,)
