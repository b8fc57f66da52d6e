"""Our server inside of Inspect's process: no port, no key, the same panels, guidance and ledger as `moa serve`.

A bench puts its own in (`use`); for `inspect eval` one is made of the user's settings when it is first needed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from agent.extras import require

if TYPE_CHECKING:
    from agent.config.config import Config
    from agent.llm.accounting import Cap
    from moa.serve.server import Server

_open: dict[str, Any] = {}
"""The server of this process, and its application."""


def application() -> Any:
    """The ASGI application. Raises UsageError for wrong settings, StateError."""
    if "app" not in _open:
        from agent.admin.sessions import configuration

        use(build(configuration()))
    return _open["app"]


def build(config: Config, *, session: str = "", caps: tuple[Cap, ...] = ()) -> Server:
    """A server whose every request is counselled as its preset says: a program that asks for a sample has no side calls. `session` is
    the account in the ledger (empty: one for each conversation), `caps` join the user's own."""
    from moa.serve import server as serving
    from moa.serve import settings
    from moa.serve.door import Door

    found = serving.build(config, Door(None, "127.0.0.1", 0), replace(settings.Settings(), counsel_for="all"))
    found.session, found.caps = session, (*found.caps, *caps)
    return found


def use(server: Server) -> None:
    """Serve with this one from here on."""
    require("bench", "the provider moa", "starlette")
    from moa.serve.app import make_app

    _open.update(server=server, app=make_app(server))


def server() -> Server | None:
    """The one that is open."""
    return _open.get("server")


async def close() -> None:
    """Close it, where it was made for this run of Inspect; a bench closes its own."""
    if (found := _open.get("server")) is not None and not found.session:
        await leave()


async def leave() -> None:
    """Close whichever is open."""
    found = _open.pop("server", None)
    _open.pop("app", None)
    if found is not None:
        await found.aclose()
