"""`moa doctor`: where each setting came from, what works, what to do about the rest. No key's value is ever shown."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from agent.admin import configuration, ledger
from agent.config import Config, project_folder
from agent.errors import UsageError
from agent.report import Report
from agent.views import TableView

if TYPE_CHECKING:
    from agent.llm.client import ModelClient
    from agent.llm.endpoint import Endpoint
    from agent.local.discover import Found

PROBE_S = 10.0

Row = tuple[str, str, str, bool]
"""What, its value, its state, and whether that state is fine."""


async def doctor(more: Sequence[Row] = (), env: Mapping[str, str] = os.environ) -> Report:
    """Every row of the examination; `more` is what a plugin adds. Endpoints with a key, and those that run here, are asked for their models."""
    from agent.host import make_client
    from agent.local.discover import discover

    config = configuration()
    books = ledger(config)
    client = make_client(config, books)
    try:
        running = {found.kind: found for found in await discover()}
        endpoints = await asyncio.gather(
            *(_endpoint(client, endpoint, running.get(name)) for name, endpoint in config.endpoints.items())  # type: ignore[call-overload]
        )
    finally:
        await client.aclose()
        books.close()
    rows: list[Row] = [*_settings(config), *endpoints, *_project(config), _terminal(env), await _sandbox(), *more]
    view = TableView(
        columns=("", "what", "value", "state"),
        rows=tuple(("✓" if fine else "✗", what, value, state) for what, value, state, fine in rows),
    )
    data = [{"what": what, "value": value, "state": state, "ok": fine} for what, value, state, fine in rows]
    return Report(view, {"checks": data})


def _settings(config: Config) -> list[Row]:
    paths, file = config.paths, config.paths.config_file
    rows: list[Row] = [("config", str(file), "read" if file.exists() else "not there: defaults hold", True)]
    for name, folder in (("state", paths.state), ("cache", paths.cache)):
        problem = _unwritable(folder)
        rows.append((name, str(folder), problem or "can be written", problem is None))
    source = config.sources.get("model", "give a key, a URL (docs: README), or use --preset local")
    rows.append(("model", config.model or "none", source, config.model is not None))
    return rows


async def _endpoint(client: ModelClient, endpoint: Endpoint, found: Found | None) -> Row:
    what, where = f"endpoint {endpoint.name}", _plain_url(endpoint.base_url)
    if endpoint.name == "local":
        return (what, "starts by itself", *_local())
    if endpoint.api_key is None and endpoint.api_key_env:
        return what, where, f"no key: export {endpoint.api_key_env}=…", True
    own = f"key from {endpoint.key_source}; " if endpoint.key_source else ""
    if endpoint.free and found is None:
        return what, where, f"{own}not running", True
    if endpoint.free and found is not None and found.locked:
        return what, found.base_url, "running, and wants a key: name it as api_key_env", False
    from agent.llm.errors import ModelError

    try:
        async with asyncio.timeout(PROBE_S):
            offered = await client.models(endpoint.name)
    except (ModelError, UsageError) as error:
        return what, where, f"{own}{error.message}" + (f" ({error.remedy})" if error.remedy else ""), False
    except TimeoutError:
        return what, where, f"{own}no answer within {PROBE_S:g} s", False
    return what, where, f"{own}works, {len(offered)} models", True


def _local() -> tuple[str, bool]:
    from agent.local.server import require_xllamacpp

    try:
        require_xllamacpp()
    except UsageError as error:
        return f"{error.message} ({error.remedy})", True
    return "installed; moa models fetch smollm2 brings a model to try", True


async def _sandbox() -> Row:
    from agent.bubblewrap import probe

    problem = await probe()
    return "sandbox", "bubblewrap", problem or "works: /sandbox on, or by itself for goals with --approve all", True


def _project(config: Config) -> list[Row]:
    folder = project_folder(Path.cwd())
    if folder is None:
        return []
    trusted = config.trusted_project(Path.cwd()) is not None
    return [("project", str(folder), "trusted" if trusted else f"inert until trusted: moa trust {folder.parent}", True)]


def _terminal(env: Mapping[str, str]) -> Row:
    kind = env.get("TERM", "unknown")
    inside = "tmux" if env.get("TMUX") else "screen" if env.get("STY") else ""
    remote = "over SSH" if env.get("SSH_CONNECTION") else ""
    encoding = sys.stdout.encoding or "unknown"
    value = ", ".join(filter(None, (kind, inside, remote, encoding)))
    if kind == "dumb" or not sys.stdout.isatty():
        return "terminal", value, "line mode and runs without a face work; the chat wants a full terminal", True
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
