"""`moa serve` in this process, on loopback, in front of a scripted endpoint that speaks every wire.

    with ScriptedEndpoint(script) as up, Serving(tmp_path, up) as server:
        server.post("messages", {"model": "messages:m", …})

`up.exchanges` is what came in behind it. The endpoints are `chat`, `responses` and `messages`, one for each dialect, all at the same address.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import uvicorn

from agent.config.config import load_config
from agent.ledger.book import Ledger
from moa.serve import settings
from moa.serve.app import make_app
from moa.serve.command import listen
from moa.serve.door import Door
from moa.serve.keys.own_key import ServeKey
from moa.serve.protocol import protocol
from moa.serve.server import Server, build
from tests.support.databases import place
from tests.support.endpoint import ScriptedEndpoint

PATHS = {"messages": "/v1/messages", "chat": "/v1/chat/completions", "responses": "/v1/responses"}
WIRES = tuple(PATHS)
DIALECTS = {"messages": "anthropic", "chat": "chat", "responses": "responses"}
KEY = "moa-key-of-this-test-0123456789"
UPSTREAM_KEY = "upstream-key-0123456789abcdef"

PRESET = """
description = "three"
main = "{main}"
aggregate = "{aggregate}"
guidance_tokens = 0

[[references]]
model = "chat:alpha"
[[references]]
model = "chat:beta"
[[references]]
model = "chat:gamma"

[aggregator]
model = "chat:judge"
"""


def config_toml(base_url: str, *, price: bool = True, more: str = "") -> str:
    """A configuration with an endpoint for each dialect."""
    models = "".join(
        f'\n[endpoints.{{name}}.models."{model}"]\nprice = {{{{ prompt = 1.5, completion = 6.0, cached = 0.15 }}}}\n'
        f"context_window = 100000\nmax_output = 8000\n"
        for model in ("m", "alpha", "beta", "gamma", "judge")
    )
    tables = "".join(
        f'[endpoints.{name}]\nbase_url = "{base_url}"\ndialect = "{dialect}"\napi_key_env = "UP_KEY"\nmax_concurrency = 1000\n'
        + (models.format(name=name) if price else "")
        for name, dialect in DIALECTS.items()
    )
    return f'model = "chat:m"\n{tables}\n{more}'


class Serving:
    """The server, on a thread of its own. `config` is more of config.toml, `presets` are texts of preset files by name, `database` is where the
    ledger is (None: where this run has it, see databases.py)."""

    def __init__(
        self, folder: Path, up: ScriptedEndpoint, *, config: str = "", presets: Mapping[str, str] | None = None,
        key: str | None = KEY, price: bool = True, uvloop: bool = False, idle_s: float = 30,
        save: bool = False, database: str | None = None,
    ) -> None:  # fmt: skip
        self.folder = folder
        self.up = up
        self.env = {
            "MOA_CONFIG_DIR": str(folder / "config"),
            "MOA_STATE_DIR": str(folder / "state"),
            "MOA_CACHE_DIR": str(folder / "cache"),
            "UP_KEY": UPSTREAM_KEY,
        }
        (folder / "config" / "presets").mkdir(parents=True, exist_ok=True)
        (folder / "config" / "config.toml").write_text(config_toml(up.base_url, price=price, more=config))
        for name, text in (presets or {}).items():
            (folder / "config" / "presets" / f"{name}.toml").write_text(text)
        self.key = key
        self.server: Server
        self._uvloop = uvloop
        self._save = save
        self._database = database
        self._idle_s = idle_s
        self._ready = threading.Event()
        self._failed: BaseException | None = None

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._run, name="moa serve", daemon=True)
        self._thread.start()
        assert self._ready.wait(20), "the server did not start"
        if self._failed is not None:
            raise self._failed
        self.http = httpx.Client(base_url=self.url, timeout=60, trust_env=False)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.http.close()
        self._uvicorn.should_exit = True
        self._thread.join(20)
        assert not self._thread.is_alive()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def headers(self) -> dict[str, str]:
        """With the key."""
        return {"authorization": f"Bearer {self.key}"} if self.key else {}

    def post(
        self, wire: str, body: Mapping[str, Any], headers: Mapping[str, str] | None = None, query: str = ""
    ) -> httpx.Response:
        """One request, whole."""
        path = PATHS.get(wire, wire) + query
        return self.http.post(path, json=body, headers={**self.headers, **(headers or {})})

    @contextmanager
    def streamed(self, wire: str, body: Mapping[str, Any]) -> Iterator[httpx.Response]:
        """One request whose answer is read in pieces."""
        with self.http.stream("POST", PATHS[wire], json=body, headers=self.headers) as response:
            yield response

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> httpx.Response:
        """One page."""
        return self.http.get(path, headers={**self.headers, **(headers or {})})

    def ledger(self) -> Ledger:
        """The books, opened beside the server."""
        return Ledger(place(self.folder / "state" / "ledger.db"))

    def _run(self) -> None:
        try:
            if self._uvloop:
                import uvloop

                with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                    runner.run(self._serve())
            else:
                asyncio.run(self._serve())
        except BaseException as error:
            self._failed = error
            self._ready.set()

    async def _serve(self) -> None:
        config = load_config(self.env, plugins=frozenset({"moa", "goal", "web"}))
        own = settings.read(config.serve, config.paths.config_file)
        listener = listen("127.0.0.1", 0)
        self.port = listener.getsockname()[1]
        key = None if self.key is None else ServeKey(self.key, "the test")
        door = Door(key, "127.0.0.1", self.port, own.hosts, own.origins)
        where = self._database or place(self.folder / "state" / "ledger.db")
        self.server = build(config, door, own, save=self._save, database=where if isinstance(where, str) else None)
        # No signal handlers: this is no main thread.
        options = uvicorn.Config(
            make_app(self.server),
            http=protocol(self._idle_s),
            lifespan="off",
            ws="none",
            access_log=False,
            log_level="error",
        )
        ready = self._ready

        class Uvicorn(uvicorn.Server):
            def install_signal_handlers(self) -> None:
                pass

            async def startup(self, sockets: Any = None) -> None:
                await super().startup(sockets)
                ready.set()

        self._uvicorn = Uvicorn(options)
        await self._uvicorn.serve(sockets=[listener])
        await self.server.aclose()


def body(wire: str, model: str, text: str = "Look around.", **more: Any) -> dict[str, Any]:
    """A small request."""
    found: dict[str, Any] = {"model": model}
    if wire == "responses":
        item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
        found |= {"input": [item], "store": False}
    else:
        found |= {"messages": [{"role": "user", "content": text}]}
    if wire == "messages":
        found["max_tokens"] = 1000
    return {**found, **more}


def events(response: httpx.Response) -> list[dict[str, Any]]:
    """The events of a streamed answer, as JSON."""
    lines = response.text.splitlines()
    return [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
