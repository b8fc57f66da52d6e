"""`moa serve`: listen, say what clients need, and serve until Ctrl+C."""

from __future__ import annotations

import asyncio
import gc
import math
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from agent.config.config import load_config
from agent.errors import UsageError
from agent.extras import missing
from agent.installed import plugin_makers
from moa.serve import greeting
from moa.serve import settings as serve_settings
from moa.serve.door import LOOPBACK, Door
from moa.serve.keys import own_key as keys
from moa.serve.seen import metrics
from moa.serve.workers import Workers

if TYPE_CHECKING:
    from types import FrameType

    from agent.config.config import Config
    from moa.serve.server import Server

SWEEP_S = 3600.0
STOP_S = 5
BACKLOG = 2048
GARBAGE = 10_000
"""So many objects more are there before the young ones are looked through: a request makes hundreds, and leaves next to none."""
IDLE_S = 30
"""So long a connection may be open without a whole request on it."""


def run(
    *,
    host: str = "127.0.0.1",
    port: int | None = None,
    preset: str | None = None,
    auth: bool = True,
    save: bool = False,
    database: str | None = None,
    workers: int = 1,
) -> int:
    """Serve. Returns the exit code. Raises UsageError where it can't, StateError where the state folder can't be used."""
    try:
        import starlette
        import uvicorn
    except ImportError:
        raise missing("serve", "moa serve", "starlette and uvicorn") from None
    del starlette, uvicorn
    env = os.environ
    config = load_config(env, plugins=frozenset(plugin_makers()))
    settings = serve_settings.read(config.serve, config.paths.config_file)
    if workers > 1 and not hasattr(os, "fork"):
        raise UsageError("--workers needs a system that can fork", remedy="leave it out", kind="workers")
    if not auth and host not in LOOPBACK:
        raise UsageError(f"--no-auth and --host {host} would let everybody in", remedy="leave one of them out")
    key = keys.find_key(config.paths.config, env) if auth else None
    listener = listen(host, settings.port if port is None else port)
    bound = listener.getsockname()[1]
    door = Door(key, host, bound, tuple(name.lower() for name in settings.hosts), settings.origins)
    from moa.serve.server import build

    _more_files()
    place = serve_settings.database(database, settings, env)
    make = partial(build, door=door, settings=settings, preset=preset, save=save, database=place, notice=_notice)
    if workers > 1:
        os.environ[metrics.FOLDER] = tempfile.gettempdir()
    server = make(config)
    address = f"http://{f'[{host}]' if ':' in host else host}:{bound}"
    for line in greeting.lines(server, address, first=key is not None and key.new):
        print(line)
    ready = partial(print, f"listening on {address}", flush=True)
    if workers == 1:
        return _run(server, listener, ready)
    asyncio.run(server.aclose())  # what it has open is not to be shared with those that are forked
    del server

    def work(number: int, serves: Callable[[], None]) -> int:
        return _run(make(_share(config, number, workers)), listener, serves)

    listener.listen(BACKLOG)
    with tempfile.TemporaryDirectory(prefix="moa-metrics-") as shared:
        os.environ[metrics.FOLDER] = shared  # read when a worker first loads the library, which is after the fork
        return Workers(
            workers, work, ready, partial(_notice, ""), settings.drain_s + STOP_S, metrics.forget_process
        ).run()


def _run(server: Server, listener: socket.socket, ready: Callable[[], None]) -> int:
    with suppress(KeyboardInterrupt), _loop(os.environ) as runner:  # Ctrl+C is how a server ends
        return runner.run(_serve(server, listener, ready))
    return 0


def _notice(_code: str, text: str) -> None:
    print(f"· {text}", file=sys.stderr, flush=True)


def _share(config: Config, number: int, workers: int) -> Config:
    """A worker's part of the calls that an endpoint takes at the same time: at least one."""
    endpoints = {}
    for name, endpoint in config.endpoints.items():
        part, rest = divmod(endpoint.max_concurrency, workers)
        endpoints[name] = replace(endpoint, max_concurrency=max(1, part + (number < rest)))
    return replace(config, endpoints=endpoints)


def _more_files() -> None:
    """As many open files as this user may have: each client is one, and each call of a model another."""
    try:
        import resource
    except ImportError:
        return
    with suppress(OSError, ValueError):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = 65_536 if hard == resource.RLIM_INFINITY else min(hard, 65_536)
        if soft != resource.RLIM_INFINITY and soft < most:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def listen(host: str, port: int) -> socket.socket:
    """A socket. Raises UsageError where the address can't be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named: asyncio sets TCP_NODELAY only then, and without it each answer waits 40 ms for an acknowledgement.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except (OSError, OverflowError) as error:
        listener.close()
        why = getattr(error, "strerror", None) or str(error)
        raise UsageError(
            f"{host}:{port} can't be listened at: {why}",
            remedy="another moa serve may be running; give another --port, or port under [serve]",
            kind="port",
        ) from None
    listener.setblocking(False)
    return listener


def _loop(env: Mapping[str, str]) -> asyncio.Runner:
    """uvloop where it is there, unless MOA_SERVE_LOOP says asyncio."""
    factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    if env.get("MOA_SERVE_LOOP") != "asyncio":
        with suppress(ImportError):
            import uvloop

            factory = uvloop.new_event_loop
    return asyncio.Runner(loop_factory=factory)


async def _serve(server: Server, listener: socket.socket, ready: Callable[[], None]) -> int:
    import uvicorn

    from moa.serve.app import make_app
    from moa.serve.protocol import protocol

    class Uvicorn(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            # What is there by now stays, and is not looked through for garbage again and again; what comes is soon gone by itself.
            gc.freeze()
            gc.set_threshold(GARBAGE)
            ready()

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            if sig == signal.SIGINT:  # somebody sits before it
                self.config.timeout_graceful_shutdown = STOP_S
            super().handle_exit(sig, frame)

    config = uvicorn.Config(
        make_app(server),
        http=protocol(IDLE_S),
        lifespan="off",
        ws="none",
        access_log=False,
        log_level="error",
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=IDLE_S,
        backlog=BACKLOG,
        timeout_graceful_shutdown=math.ceil(server.settings.drain_s),
    )
    sweeping = asyncio.create_task(_sweep(server), name="sweep")
    reconciling = asyncio.create_task(server.ledger.reconcile(server.client.generation), name="reconcile")
    try:
        await Uvicorn(config).serve(sockets=[listener])
    finally:
        for task in (sweeping, reconciling):
            task.cancel()
        await asyncio.gather(sweeping, reconciling, return_exceptions=True)
        await server.aclose()
    return 0


async def _sweep(server: Server) -> None:
    """Hourly: guidance that is too old, or too much, goes, and calls of machines that are gone are closed."""
    while True:
        await asyncio.sleep(SWEEP_S)
        with suppress(Exception):  # a lock that somebody holds: the next hour will do
            await server.ledger.patiently(partial(server.serving.sweep, server.settings.guidance_mb))
            await server.ledger.patiently(server.keeping.sweep)
            await server.ledger.patiently(server.ledger.sweep)
