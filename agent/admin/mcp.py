"""`moa mcp list | add | remove | test`: the foreign servers as settings, and whether they work."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.admin.report import Report
from agent.admin.sessions import configuration
from agent.config.edit import remove_table, update
from agent.config.mcp import NAME, McpSettings, ServerSettings, configured, read, require_sdk
from agent.errors import UsageError
from agent.process.folder import here
from agent.text.cleaning import visible
from agent.views import MarkdownView, TableView

if TYPE_CHECKING:
    from agent.config.config import Config


def _settings(config: Config) -> McpSettings:
    project = config.trusted_project(here())
    return configured(config.mcp, config.paths.config_file, project)


def list_servers() -> Report:
    """The servers of the user's config and of a trusted project, and those of a project that is not trusted yet. Starts none."""
    config = configuration()
    found = _settings(config)
    rows = tuple(
        (each.name, each.kind, _state(each), visible(each.described()), each.source) for each in found.servers.values()
    )
    note = _untrusted(config)
    if not rows:
        note = " ".join(filter(None, ("No server is configured. moa mcp add --help says how.", note)))
    data: dict[str, Any] = {
        "start_s": found.start_s,
        "servers": [
            {
                "name": each.name,
                "type": each.kind,
                "command": [each.command, *each.args] if each.command else None,
                "url": each.url or None,
                "enabled": each.enabled,
                "read_only": list(each.read_only),
                "from": each.source,
            }
            for each in found.servers.values()
        ],
    }
    if not rows:
        return Report(MarkdownView(text=note), data)
    return Report(TableView(columns=("server", "type", "state", "how", "from"), rows=rows, note=note), data)


def _state(server: ServerSettings) -> str:
    return "on" if server.enabled else "off (enabled = false)"


def _untrusted(config: Config) -> str:
    from agent.config.paths import project_folder

    folder = project_folder(here())
    if folder is None or not (folder / "config.toml").is_file() or config.trusted_project(here()) is not None:
        return ""
    return f"{folder / 'config.toml'} may name servers, too; nothing of it is used until: moa trust {folder.parent}"


def add(
    name: str,
    target: Sequence[str],
    *,
    env: Sequence[str] = (),
    headers: Sequence[str] = (),
    read_only: Sequence[str] = (),
    kind: str | None = None,
    cwd: str | None = None,
) -> Report:
    """Write a server into config.toml. `target` is a command with its arguments, or one address; `env` are NAME=VALUE, `headers`
    NAME: VALUE. Raises UsageError for what is wrong, or where there is a server of that name."""
    config = configuration()
    file = config.paths.config_file
    if not NAME.fullmatch(name):
        raise UsageError(f"{name!r} is not a usable name for a server", remedy="use up to 32 letters, digits, - and _")
    if name in read(config.mcp, file).servers:
        raise UsageError(
            f"there is a server {name} already ({file})", remedy=f"take it out first: moa mcp remove {name}"
        )
    if not target:
        remedy = f"for example: moa mcp add {name} npx -y SOME-PACKAGE, or moa mcp add {name} https://…"
        raise UsageError("the command or the address is missing", remedy=remedy)
    server: dict[str, Any] = {}
    if len(target) == 1 and target[0].startswith(("http://", "https://")):
        server["url"] = target[0]
    else:
        server["command"], server["args"] = target[0], list(target[1:])
    if kind is not None:
        server["type"] = kind
    if cwd is not None:
        server["cwd"] = cwd
    if read_only:
        server["read_only"] = list(read_only)
    for key, pairs, mark in (("env", env, "="), ("headers", headers, ":")):
        if pairs:
            server[key] = dict(_pair(pair, mark) for pair in pairs)
    read({"servers": {name: server}}, file)  # before anything is written
    update(file, {("mcp", "servers", name, key): value for key, value in server.items()})
    text = f"{name} is in {file}. Whether it works: `moa mcp test {name}`"
    return Report(MarkdownView(text=text), {"added": name, "file": str(file)})


def _pair(text: str, mark: str) -> tuple[str, str]:
    name, found, value = text.partition(mark)
    if not found or not name.strip():
        raise UsageError(
            f"{name!r} has no {mark} in it", remedy=f"write NAME{mark}VALUE" if mark == "=" else "write NAME: VALUE"
        )
    return name.strip(), value.strip()


def remove(name: str) -> Report:
    """Take a server out of config.toml. Raises UsageError where there is none of that name in it."""
    config = configuration()
    file = config.paths.config_file
    servers = read(config.mcp, file).servers
    if name not in servers:
        there = ", ".join(servers) or "none"
        raise UsageError(f"there is no server {name} in {file}", remedy=f"there are: {there}")
    remove_table(file, ("mcp", "servers", name))
    return Report(MarkdownView(text=f"{name} is not in {file} any more."), {"removed": name, "file": str(file)})


async def test(name: str | None) -> Report:
    """Start servers (all that are on, or the one of that name), list their tools, and say what is wrong. Raises UsageError for a name
    that there is not."""
    from agent.mcp.connection import Connection, Place

    config = configuration()
    settings = _settings(config)
    if name is not None and name not in settings.servers:
        there = ", ".join(settings.servers) or "none"
        raise UsageError(f"there is no server {name}", remedy=f"there are: {there}")
    chosen = settings.running() if name is None else (settings.servers[name],)
    if chosen:
        require_sdk()
    place = Place(cwd=Path(here()), own=config.paths.state / "mcp", env=os.environ)
    connections = [Connection(each, place, redact=config.redact) for each in chosen]
    try:
        for connection in connections:
            connection.start()
        await asyncio.gather(*(connection.settled() for connection in connections))
        data = {"servers": [_tested(connection) for connection in connections]}
    finally:
        await asyncio.gather(*(connection.aclose() for connection in connections))
    rows = tuple((each["name"], "works" if each["ok"] else "does not work", _outcome(each)) for each in data["servers"])
    ok = all(each["ok"] for each in data["servers"])
    if not rows:
        return Report(MarkdownView(text="No server is configured. moa mcp add --help says how."), data)
    return Report(TableView(columns=("server", "", "what it says"), rows=rows), data, ok)


def _tested(connection: Any) -> dict[str, Any]:
    return {
        "name": connection.name,
        "ok": connection.state == "ready",
        "problem": connection.problem or None,
        "about": connection.about,
        "tools": [tool.name for tool in connection.tools],
        "left_out": list(connection.left_out),
    }


def _outcome(found: dict[str, Any]) -> str:
    if not found["ok"]:
        return str(found["problem"])
    tools = ", ".join(visible(tool) for tool in found["tools"]) or "none"
    return "; ".join((f"{found['about']}; tools: {tools}", *found["left_out"]))
