"""What one server process has: the configuration, the client of models, the books, the panels, and how a request is read."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from agent.client import caps_of, make_client
from agent.errors import UsageError
from agent.ledger.book import Ledger
from agent.llm.accounting import CallContext, Cap
from agent.llm.client import ModelClient
from agent.process import depth
from agent.text.numbers import whole_number
from moa import settings as moa_settings
from moa.preset.preset import Preset
from moa.serve import settings as serve_settings
from moa.serve.bodies import NAMED, aside, has_many, is_name
from moa.serve.counsel.lookups import make as make_lookups
from moa.serve.counsel.panels import Panels
from moa.serve.counsel.saving import Saving
from moa.serve.counsel.served import Asked, Served, Serving
from moa.serve.fusion.execute import ServerTools
from moa.serve.fusion.prepare import Prepared, prepare, router_preset
from moa.serve.guidance import anchors
from moa.serve.guidance.wires import wire_of
from moa.serve.keeping import Keeping
from moa.serve.keys import stored
from moa.serve.keys.ring import Ring
from moa.serve.names import Named, Names
from moa.serve.seen import spans
from moa.serve.seen.metrics import Metrics
from moa.serve.seen.seen import Seen, Watched
from moa.serve.wires.registry import wire_named
from moa.store.reading import read
from moa.store.store import locate, names, text_at

if TYPE_CHECKING:
    import httpx

    from agent.config.config import Config
    from agent.llm.models.endpoint import Endpoint
    from moa.counsel.take import Council
    from moa.serve.door import Door
    from moa.serve.keys.account import Account

SPEAKS: dict[str, frozenset[str]] = {
    "https://openrouter.ai/api/v1": frozenset({"messages", "responses", "chat"}),
}
"""Endpoints that take more wires than the one of their dialect, by address."""


@dataclass(slots=True)
class Call:
    """One request of a client, read. `prepared` is what it has to do with Fusion and server tools. `raw` are its bytes, `query` what stands behind the path, `run` its name in the books."""

    server: Server
    wire: str
    body: dict[str, Any]
    raw: bytes
    headers: Mapping[str, str]
    query: str
    run: str
    named: Named
    endpoint: Endpoint
    served: Served
    base: CallContext
    prepared: Prepared
    account: Account

    @property
    def stream(self) -> bool:
        """Whether the answer is wanted in pieces."""
        return self.body.get("stream") is True

    @property
    def context(self) -> CallContext:
        """Whose account its own call is on."""
        return self.served.context(self.base)

    @property
    def same_wire(self) -> bool:
        """Whether the endpoint speaks the client's wire, and nothing happens here between its calls."""
        return speaks(self.endpoint, self.wire) and not self.prepared.is_served

    @property
    def told(self) -> dict[str, str]:
        """What the response's headers say of it."""
        return {"x-moa-run": self.run, **self.served.headers}


def speaks(endpoint: Endpoint, wire: str) -> bool:
    """Whether an endpoint takes a wire."""
    return wire_named(wire).dialect == endpoint.dialect or wire in SPEAKS.get(endpoint.base_url.rstrip("/"), ())


@dataclass(slots=True)
class Server:
    """See the module."""

    config: Config
    settings: serve_settings.Settings
    door: Door
    client: ModelClient
    ledger: Ledger
    names: Names
    serving: Serving
    keeping: Keeping
    tools: ServerTools
    caps: tuple[Cap, ...]
    seen: Seen
    session: str = ""
    """Under which session of the ledger all calls stand (empty: each conversation's own)."""

    async def read(
        self,
        wire: str,
        body: dict[str, Any],
        raw: bytes,
        headers: Mapping[str, str],
        query: str,
        *,
        counting: bool,
        account: Account,
    ) -> Call:
        """A request. Raises UsageError, ModelError and StateError."""
        from agent.llm.errors import BadRequest

        name = body.get("model")
        if not isinstance(name, str) or not name:
            raise BadRequest("the request names no model", status=400, remedy="GET /v1/models lists them")
        if not is_name(name):
            raise BadRequest("the request's model has a name that none has", status=400, remedy=NAMED)
        names = self.names.seen_by(account)
        prepared = prepare(
            wire, body, model=name, load=names.read, endpoints=self.config.endpoints, presets=names.offered,
            inside=depth_of(headers) > 0,
        )  # fmt: skip
        panel = headers.get("x-moa-preset")
        named = await names.find(prepared.main or name, panel)
        await aside(raw, partial(self._check, wire, account, named, prepared, query, panel or router_preset(name)))
        endpoint = self.client.require_key(named.main.endpoint)
        wanted = headers.get("x-moa-counsel")
        if wanted not in (None, "on", "off"):
            raise BadRequest(f"x-moa-counsel is {wanted[:40]!r}", status=400, remedy="use on or off, or leave it out")
        quirks = self.client.quirks(endpoint, named.main.model)
        reading = None
        if has_many(raw):
            bodies = wire_of(wire)
            reading = await aside(raw, partial(anchors.read, bodies, bodies.items(prepared.body)))
        serving = partial(
            self.serving.read,
            Asked(
                wire=wire,
                body=prepared.body,
                key=account.id,
                shares=not account.is_own,
                main=named.main,
                endpoint=endpoint,
                preset=named.preset,
                wanted=wanted,  # type: ignore[arg-type]
                counsel_for=self.settings.counsel_for,  # type: ignore[arg-type]
                depth=depth_of(headers),
                client=headers.get("user-agent", ""),
                alternate="strict_alternation" in quirks,
                counting=counting,
                fuse=named.fuse,
                reading=reading,
            ),
        )
        served = await self.ledger.patiently(serving)
        run = new_run()
        base = CallContext(
            "serve",
            session=self.session,
            run=run,
            caps=(*self.caps, *account.caps),
            account=account.id,
            preset=named.preset.name if named.preset is not None else "",
        )
        return Call(self, wire, body, raw, headers, query, run, named, endpoint, served, base, prepared, account)

    def _check(
        self, wire: str, account: Account, named: Named, prepared: Prepared, query: str, panel: str | None
    ) -> None:
        """Raise AuthError where the request names what is not for this key, whoever's it is. `panel`: the preset that it names beside its model."""
        if not account.is_own:
            stored.check(wire, prepared.body, account.name)
            account.check_query(query)
        if not account.models and not account.presets:
            return
        if named.preset is not None:
            account.check(named.main, named.preset.name, own=named.own)
        else:
            chosen = any(tool.fusion.model is not None for tool in prepared.lowered.tools)
            account.check(named.main, panel, own=prepared.routed and not chosen)
        account.check_others(named.main.endpoint, wire, prepared.body)

    async def aclose(self) -> None:
        """Stop the panels, close the connections and the books."""
        await self.serving.panels.close()
        await self.client.aclose()
        self.ledger.close()
        if self.seen.spans is not None:
            self.seen.spans.close()


def new_run() -> str:
    """A name for one request in the books."""
    return f"s{time.time_ns() // 1_000_000:x}{secrets.token_hex(3)}"


def depth_of(headers: Mapping[str, str]) -> int:
    """How many panels are around a request; what is not a number counts as one."""
    levels = [
        1 if (level := whole_number(headers[name])) is None else level for name in depth.HEADERS if name in headers
    ]
    return max(levels, default=0)


def build(
    config: Config, door: Door, settings: serve_settings.Settings, *, preset: str | None = None, save: bool = False,
    database: str | None = None, env: Mapping[str, str] | None = None, transport: httpx.AsyncBaseTransport | None = None, notice: Callable[[str, str], None] = lambda _code, _text: None,
) -> Server:  # fmt: skip
    """A server for a configuration. `preset` is the one of a bare `moa` (None: config's); `save` keeps each counsel as a session, `database` is the address of one that is shared. Raises UsageError and StateError."""
    from moa.counsel.take import Council

    own = moa_settings.read(config.plugins.get("moa", {}), config.paths.config_file)
    ledger = Ledger(database or config.paths.state / "ledger.db", redact=config.redact)
    ledger.sweep()
    door = replace(door, ring=Ring(ledger))
    client = make_client(config, ledger, notice=notice, transport=transport)
    seen = Seen(Metrics(), spans.make(os.environ if env is None else env), logs=settings.log == "json")
    seen.metrics.started.set_to_current_time()
    client.accounts = Watched(client.accounts, seen)
    load = _Presets(config).load
    default = preset or own.preset
    if preset is not None:
        load(preset)

    def make(preset: Preset) -> Council:
        return Council(preset, client)

    caps = caps_of(config)
    listed: Callable[[], list[str]] = lambda: names(config_dir=config.paths.config)  # noqa: E731
    found = Names(client, load, listed, default, config.single_model, caps)
    lookups = make_lookups(config, client)
    saving = Saving(config.paths.sessions, config.redact, notice) if save else None
    serving = Serving(ledger, Panels(make), redact=config.redact, lookups=lookups, saving=saving)
    serving.sweep(settings.guidance_mb)
    tools = ServerTools(client, load, config.endpoints, default, lookups, saving)
    return Server(config, settings, door, client, ledger, found, serving, Keeping(ledger), tools, caps, seen)


@dataclass(slots=True)
class _Presets:
    """Presets as they are now on disk, read again only where their file has changed."""

    config: Config
    _kept: dict[str, tuple[tuple[str, int, int], Preset]] = field(default_factory=dict)

    def load(self, name: str) -> Preset:
        if "/" in name or not name:
            raise UsageError(
                f"{name[:100]!r} is no preset", remedy="GET /v1/models lists what there is", kind="unknown_preset"
            )
        path = locate(name, config_dir=self.config.paths.config).path
        stat = path.stat()
        state = (str(path), stat.st_mtime_ns, stat.st_size)
        kept = self._kept.get(name)
        if kept is None or kept[0] != state:
            kept = self._kept[name] = (state, read(text_at(path), name=name, path=path))
        return kept[1]
