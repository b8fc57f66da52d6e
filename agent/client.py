"""The one client for models, made from the settings: its endpoints, its ledger, the user's caps, the small model of this machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from agent.ledger.patient import PatientLedger
from agent.llm.accounting import Cap
from agent.llm.client import ModelClient
from agent.llm.models.catalogue import Catalogue
from agent.llm.models.learned_quirks import QuirkMemory
from agent.llm.money import nano_from_usd
from agent.process import depth

if TYPE_CHECKING:
    import httpx

    from agent.config.config import Config
    from agent.ledger.book import Ledger
    from agent.llm.models.endpoint import Endpoint
    from agent.local.server import LocalServer
    from agent.local.source import Progress


def make_client(
    config: Config,
    ledger: Ledger,
    *,
    notice: Callable[[str, str], None] = lambda _code, _text: None,
    progress: Callable[[Progress], None] = lambda _progress: None,
    endpoints: Mapping[str, Endpoint] | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
) -> ModelClient:
    """The door to the models for a configuration; `endpoints` stand in for its own (servers that were found running elsewhere), `transport`
    for the network."""

    async def launch_local(model: str) -> Endpoint:
        from agent.local.server import LocalServer

        if "server" not in started:
            started["server"] = LocalServer(
                config.paths.cache / "models",
                config.paths.state / "local-server.log",
                notice=lambda text: notice("local", text),
                progress=progress,
            )
        return await started["server"].launch(model)

    async def stop_local() -> None:
        if server := started.get("server"):
            await server.aclose()

    started: dict[str, LocalServer] = {}
    return ModelClient(
        endpoints or config.endpoints,
        PatientLedger(ledger),
        catalogue=Catalogue(config.paths.cache),
        transport=transport,
        launchers={"local": launch_local},
        on_close=stop_local,
        notice=notice,
        memory=QuirkMemory(config.paths.cache / "quirks.json"),
        depth_headers=lambda panel: depth.headers(depth.depth() + panel),
        redact=config.redact,
    )


def caps_of(config: Config, budget_usd: float | None = None, budget_name: str = "--budget") -> tuple[Cap, ...]:
    """The user's caps; `budget_usd` is that of the command line, US dollars."""
    budget, file = config.budget, config.paths.config_file
    caps = []
    for scope in ("turn", "session", "day"):
        usd, tokens = getattr(budget, f"{scope}_usd"), getattr(budget, f"{scope}_tokens")
        if usd is not None or tokens is not None:
            nano = None if usd is None else nano_from_usd(usd)
            keys = " and ".join(
                key for key, value in ((f"{scope}_usd", usd), (f"{scope}_tokens", tokens)) if value is not None
            )
            caps.append(Cap(scope, f"[budget] {keys} in {file}", nano, tokens))
    if budget_usd is not None:
        caps.append(Cap("run", budget_name, nano_from_usd(budget_usd)))
    return tuple(caps)
