"""`moa models list`: what the endpoints offer, and the local models that can be fetched."""

from __future__ import annotations

from typing import Any

from agent.admin.report import Report
from agent.admin.sessions import configuration, facts_json, ledger
from agent.config.config import Config
from agent.errors import UsageError
from agent.llm.models.endpoint import WELL_KNOWN, Endpoint
from agent.views import TableView


async def list_models(name: str | None) -> Report:
    """What one endpoint offers, or all that can be asked: those with a key, the user's own, and the servers that run on this machine.

    Raises UsageError for an unknown endpoint, or for a named one that can't be asked.
    """
    from agent.client import make_client
    from agent.llm.errors import ModelError
    from agent.local.discover import discover

    config = configuration()
    running = {} if name else {found.kind: found for found in await discover()}
    endpoints: dict[str, Endpoint] = dict(config.endpoints)
    for kind, found in running.items():
        if endpoints[kind] == WELL_KNOWN[kind]:
            endpoints[kind] = found.endpoint()  # at its own address, with what it tells of its models
    books = ledger(config)
    client = make_client(config, books, endpoints=endpoints)
    names = [name] if name else [each for each in config.endpoints if _worth_asking(each, config) or each in running]
    models = local_models(config) if name in (None, "local") else []
    problems: list[str] = []
    try:
        for each in names:
            if each == "local":
                continue
            try:
                offered = await client.models(each)
            except (ModelError, UsageError) as error:
                problems.append(f"{each}: {error.message}")
                continue
            models += [
                {"endpoint": each, "model": model.id, "ref": f"{each}:{model.id}", **facts_json(model.facts)}
                for model in offered
            ]
    finally:
        await client.aclose()
        books.close()
    if name and problems:
        raise UsageError(problems[0], remedy="moa doctor says what is reachable", kind="endpoint")
    view = TableView(
        columns=("model", "window", "$/M in", "$/M out"),
        rows=tuple(_row(model) for model in models),
        align="lrrr",
        note="\n".join(problems),
    )
    return Report(view, {"models": models, "problems": problems}, ok=not problems)


def local_models(config: Config) -> list[dict[str, Any]]:
    """The models that `moa models fetch` knows, and whether they are here."""
    from agent.local.catalogue import FETCHABLE
    from agent.local.fetch import cached
    from agent.local.server import facts_of

    return [
        {
            "endpoint": "local",
            "model": name,
            "ref": f"local:{name}",
            "fetched": cached(entry, config.paths.cache / "models") is not None,
            "bytes": entry.size,
            **facts_json(facts_of(name)),
        }
        for name, entry in FETCHABLE.items()
    ]


def _worth_asking(name: str, config: Config) -> bool:
    endpoint = config.endpoints[name]
    return endpoint.api_key is not None or name not in WELL_KNOWN


def _row(model: dict[str, Any]) -> tuple[str, ...]:
    window, price = model["context_window"], model["price"]
    size = f"{window:,}" if window else ""
    if model.get("fetched") is False:
        size = f"{model['bytes'] / 1e6:.0f} MB to fetch"
    if price is None:
        return (model["ref"], size, "unknown", "unknown")
    return (model["ref"], size, f"{price['prompt']:g}", f"{price['completion']:g}")
