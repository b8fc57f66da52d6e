"""`moa doctor`: where each setting came from, what works, what to do about the rest. No key's value is ever shown."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from agent.admin.report import Report
from agent.admin.sessions import configuration, ledger
from agent.config.config import Config
from agent.config.paths import project_folder
from agent.errors import StateError, UsageError
from agent.process.folder import here
from agent.text.numbers import plural
from agent.views import TableView

if TYPE_CHECKING:
    from agent.ledger.book import Ledger
    from agent.llm.client import ModelClient
    from agent.llm.models.endpoint import Endpoint
    from agent.local.discover import Found

MARKS = {True: "✓", None: "○", False: "✗"}
PROBE_S = 10.0

Row = tuple[str, str, str, bool | None]
"""What, its value, its state, and whether it works. None: it is not set up, and nothing says that it should be."""


async def doctor(more: Sequence[Row] = (), env: Mapping[str, str] = os.environ) -> Report:
    """Every row of the examination; `more` is what a plugin adds. Endpoints with a key, and those that run here, are asked for their models."""
    from agent.client import make_client
    from agent.local.discover import discover

    config = configuration()
    spare = TemporaryDirectory()
    books, trouble = _books(config, Path(spare.name))
    client = make_client(config, books)
    try:
        running = {found.kind: found for found in await discover()}
        endpoints = await asyncio.gather(
            *(_endpoint(client, endpoint, running.get(name)) for name, endpoint in config.endpoints.items())  # type: ignore[call-overload]
        )
    finally:
        await client.aclose()
        books.close()
        spare.cleanup()
    rows: list[Row] = [
        *_settings(config),
        *trouble,
        *endpoints,
        *_servers(config),
        *_web(config, env),
        *_project(config),
        _terminal(env),
        await _sandbox(),
        *more,
    ]
    view = TableView(
        columns=("", "what", "value", "state"),
        rows=tuple((MARKS[fine], what, value, state) for what, value, state, fine in rows),
    )
    data = [
        {"what": what, "value": value, "state": state, "ok": fine is not False} for what, value, state, fine in rows
    ]
    return Report(view, {"checks": data})


def _books(config: Config, spare: Path) -> tuple[Ledger, list[Row]]:
    """The ledger; where it can't be opened one in `spare`, and a row that says why: the rest is to be examined all the same."""
    try:
        return ledger(config), []
    except StateError as error:
        from agent.ledger.book import Ledger

        remedy = f"; {error.remedy}" if error.remedy else ""
        return Ledger(spare / "ledger.db"), [
            ("ledger", str(config.paths.state / "ledger.db"), error.message + remedy, False)
        ]


def _settings(config: Config) -> list[Row]:
    paths, file = config.paths, config.paths.config_file
    rows: list[Row] = [("config", str(file), "read" if file.exists() else "not found, using defaults", True)]
    for name, folder in (("state", paths.state), ("cache", paths.cache)):
        problem = _unwritable(folder)
        rows.append((name, str(folder), problem or "can be written", problem is None))
    source = config.sources.get("model", "`moa` leads to one: a key, an address, or a small local model")
    rows.append(("model", config.model or "none", source, config.model is not None))
    if config.effort is not None:
        rows.append(("effort", config.effort, config.sources["effort"], True))
    return rows


async def _endpoint(client: ModelClient, endpoint: Endpoint, found: Found | None) -> Row:
    what, where = f"endpoint {endpoint.name}", _plain_url(endpoint.base_url)
    if endpoint.name == "local":
        return (what, "starts by itself", *_local())
    if endpoint.command:
        return (what, *_program(endpoint))
    if endpoint.api_key is None and endpoint.api_key_env:
        return what, where, f"no key: export {endpoint.api_key_env}=…", None
    own = f"key from {endpoint.key_source}; " if endpoint.key_source else ""
    if endpoint.free and found is None:
        return what, where, f"{own}not running", None
    if endpoint.free and found is not None and found.locked:
        return what, found.base_url, "running, and needs a key: name it as api_key_env", False
    from agent.llm.errors import ModelError

    try:
        async with asyncio.timeout(PROBE_S):
            offered = await client.models(endpoint.name)
    except (ModelError, UsageError) as error:
        return what, where, f"{own}{error.message}" + (f" ({error.remedy})" if error.remedy else ""), False
    except TimeoutError:
        return what, where, f"{own}no answer within {PROBE_S:g} s", False
    return what, where, f"{own}works, {plural(len(offered), 'model')}", True


def _program(endpoint: Endpoint) -> tuple[str, str, bool | None]:
    """Whether a command-line agent is installed; whether it is logged in only a call can say."""
    from agent.llm.models.endpoint import WELL_KNOWN
    from agent.process.children import program

    name = endpoint.command[0]
    found = program(name)
    if found is None:
        missing = None if endpoint.name in WELL_KNOWN else False
        return name, "not installed: a preset with this member continues without it", missing
    return found, "installed; moa preset check tries it with a tiny call", True


def _local() -> tuple[str, bool | None]:
    from agent.local.server import require_xllamacpp

    try:
        require_xllamacpp()
    except UsageError as error:
        return f"{error.message} ({error.remedy})", None
    return "installed; moa models fetch smollm2 brings a model to try", True


async def _sandbox() -> Row:
    from agent.sandbox.bubblewrap import probe

    problem = await probe()
    return "sandbox", "bubblewrap", problem or "works: by itself while a goal is active, else with /sandbox on", True


def _servers(config: Config) -> list[Row]:
    """The foreign MCP servers that would start here; whether one works, `moa mcp test` says."""
    if not config.mcp:
        return []
    from agent.config.mcp import configured

    try:
        found = configured(config.mcp, config.paths.config_file, config.trusted_project(here()))
    except UsageError as error:
        return [("mcp", "servers", f"{error.message} ({error.remedy})", False)]
    return [("mcp", ", ".join(each.name for each in found.running()) or "none", "moa mcp test starts them", True)]


def _web(config: Config, env: Mapping[str, str]) -> list[Row]:
    """Which engines a search asks, and whether what reads pages is installed."""
    from importlib.util import find_spec

    from agent.extras import install
    from agent.web.settings import read

    try:
        settings = read(config.plugins.get("web", {}), config.paths.config_file, env)
    except UsageError as error:
        return [("web", "search", f"{error.message} ({error.remedy})", False)]
    engines = settings.engines()
    needed = ["trafilatura", "pypdf", *(["ddgs"] if "ddgs" in engines else [])]
    missing = [name for name in needed if find_spec(name) is None]
    key = settings.search not in ("exa", "tavily", "brave") or settings.search in settings.keys
    state = (
        "search asks them in this order; pages can be read" if len(engines) > 1 else "asked alone; pages can be read"
    )
    if missing:
        state = f"{', '.join(missing)} not installed: {install('web')}"
    if not key:
        from agent.web.settings import KEYS

        state = f"no key: export {KEYS[settings.search][0]}=…"
    return [("web", ", ".join(engines), state, not missing and key)]


def _project(config: Config) -> list[Row]:
    folder = project_folder(here())
    if folder is None:
        return []
    trusted = config.trusted_project(here()) is not None
    from agent.config.trust import why_not

    state = "trusted" if trusted else why_not(config, here()) or f"no effect until trusted: moa trust {folder.parent}"
    return [("project", str(folder), state, True)]


def _terminal(env: Mapping[str, str]) -> Row:
    kind = env.get("TERM", "unknown")
    inside = "tmux" if env.get("TMUX") else "screen" if env.get("STY") else ""
    remote = "over SSH" if env.get("SSH_CONNECTION") else ""
    encoding = sys.stdout.encoding or "unknown"
    value = ", ".join(filter(None, (kind, inside, remote, encoding)))
    if kind == "dumb" or not sys.stdout.isatty():
        return "terminal", value, "line mode and non-interactive runs work; the chat wants a full terminal", True
    if encoding.lower().replace("-", "") != "utf8":
        return "terminal", value, "not UTF-8: export LANG=C.UTF-8", False
    return "terminal", value, "fine", True


def _unwritable(folder: Path) -> str | None:
    """What stands in the way of writing in a folder that may not exist yet."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if not existing.is_dir():
        return f"{existing} is a file: move it away, or name another folder"
    return None if os.access(existing, os.W_OK) else f"{existing} can't be written: check its permissions"


def _plain_url(url: str) -> str:
    """An address without what may be secret in it: a user's name and password, a query."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
