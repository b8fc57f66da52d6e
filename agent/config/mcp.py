"""`[mcp]` of config.toml: which foreign servers there are, and how each is reached."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from agent.config.toml import Table
from agent.errors import UsageError
from agent.process.children import is_secret

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")
START_S = 3.0
CALL_S = 120.0
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
Kind = Literal["stdio", "http", "sse"]


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """One server. `command` starts it as a child; `url` reaches one that runs elsewhere. Seconds."""

    name: str
    kind: Kind
    command: str = ""
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    url: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    cwd: str | None = None
    """Where it works, from the working folder; None: in an empty folder of the program's own."""
    timeout_s: float = CALL_S
    """So long a call may say nothing, not even that it makes progress."""
    read_only: tuple[str, ...] = ()
    """Patterns of the tools that only look, by the user's own word: they run without asking."""
    enabled: bool = True
    source: str = "config.toml"
    of_project: bool = False
    """Whether a project names it: then it is given no key of the user's."""

    def described(self) -> str:
        """How it is reached, on one line, without the values of variables and headers."""
        return self.url or " ".join((self.command, *self.args))

    def whole(self) -> str:
        """All that it would get and be allowed, for who decides about it: variables and headers as they are written."""
        parts = [shlex.join((self.command, *self.args)) if self.command else self.url]
        parts += [f"with {name}={value}" for name, value in self.env.items()]
        parts += [f"with the header {name}: {value}" for name, value in self.headers.items()]
        if self.cwd not in (None, "."):
            parts.append(f"in {self.cwd}")
        if self.read_only:
            parts.append(f"its tools {', '.join(self.read_only)} run WITHOUT ASKING")
        return "; ".join(parts)


@dataclass(frozen=True, slots=True)
class McpSettings:
    """All servers by name; `start_s`: so long the first request of a session waits for them."""

    servers: Mapping[str, ServerSettings] = field(default_factory=dict)
    start_s: float = START_S

    def running(self) -> tuple[ServerSettings, ...]:
        """Those that are to be started."""
        return tuple(server for server in self.servers.values() if server.enabled)


def read(section: Mapping[str, Any], file: Path) -> McpSettings:
    """The settings, checked. Raises UsageError that names file, key and remedy."""
    table = Table(dict(section), file, "mcp")
    start_s = table.number("start_s", START_S)
    servers = dict(read_servers(table.table("servers"), default_cwd=None))
    table.done()
    assert start_s is not None
    return McpSettings(servers, start_s)


def configured(section: Mapping[str, Any], file: Path, project: Path | None) -> McpSettings:
    """The servers of the user's config (its `[mcp]`), and those of a trusted project (its `.moa` folder) beside them; of two of one name the user's.

    Raises UsageError for a wrong setting.
    """
    settings = read(section, file)
    if project is not None:
        settings = McpSettings({**read_project(project), **settings.servers}, settings.start_s)
    return settings


def require_sdk() -> None:
    """Raises UsageError where the `mcp` extra is not installed. Imports nothing of it."""
    from agent.extras import require

    require("mcp", "MCP", "the package mcp", "mcp")


def read_project(project: Path) -> Mapping[str, ServerSettings]:
    """The servers of a project's own `.moa/config.toml`, which the user trusts; they work in the project's folder. Raises UsageError."""
    from agent.config import project_settings

    found = read_servers(project_settings.read(project).servers, default_cwd=".")
    return {name: replace(server, of_project=True) for name, server in found}


def read_servers(servers: Table, *, default_cwd: str | None) -> Iterator[tuple[str, ServerSettings]]:
    """The servers of a `[mcp.servers]` table. Raises UsageError."""
    for name, table in servers.tables():
        if not NAME.fullmatch(name):
            remedy = "use up to 32 letters, digits, - and _: it becomes a part of its tools' names"
            raise servers.error(name, "is not a usable name", remedy)
        yield name, _server(name, table, default_cwd)


def _server(name: str, table: Table, default_cwd: str | None) -> ServerSettings:
    command, url = table.text("command"), table.text("url")
    given = table.text("type", "stdio" if command else "http", choices=("stdio", "http", "streamable-http", "sse"))
    kind: Kind = "stdio" if given == "stdio" else "sse" if given == "sse" else "http"
    server = ServerSettings(
        name=name,
        kind=kind,
        command=os.path.expanduser(command or ""),  # noqa: PTH111
        args=table.texts("args"),
        env=_strings(table.table("env")),
        url=url or "",
        headers=_strings(table.table("headers")),
        cwd=table.text("cwd", default_cwd),
        timeout_s=table.number("timeout_s", CALL_S) or CALL_S,
        read_only=table.texts("read_only"),
        enabled=table.flag("enabled", True),
        source=str(table.file),
    )
    table.done()
    if bool(command) == bool(url):
        what = "names both a command and a url" if command else "names neither a command nor a url"
        remedy = 'give one: command = "npx" with args = […], or url = "https://…"'
        raise UsageError(f"{table.file}: {table.name} {what}", remedy=remedy, kind="config")
    if url and not url.startswith(("http://", "https://")):
        raise table.error("url", f"is {url[:80]!r}", "use an address that starts with http:// or https://")
    if (kind == "stdio") != bool(command):
        raise table.error("type", f"is {given!r}", "leave it out: a command is stdio, a url is http")
    if command and os.sep in command and not os.path.isabs(server.command):  # noqa: PTH117
        remedy = "use the name of an installed program, or its whole path"
        raise table.error("command", f"is {command!r}, a path that depends on the folder", remedy)
    return server


def _strings(table: Table) -> dict[str, str]:
    return {name: table.text(name) or "" for name in table.data}


def filled(text: str, env: Mapping[str, str], *, where: str) -> str:
    """A value with `${NAME}` and `${NAME:-default}` taken from the environment, so that no key has to stand in a file.

    Raises UsageError for a variable that is not set; `where` names the key.
    """

    def value(found: re.Match[str]) -> str:
        name, default = found[1], found[2]
        if (set_to := env.get(name)) is not None:
            return set_to
        if default is None:
            remedy = f"set it, or write ${{{name}:-default}}"
            raise UsageError(f"{where} names ${{{name}}}, which is not set", remedy=remedy, kind="config")
        return default

    return _VARIABLE.sub(value, text)


def secrets(section: Mapping[str, Any], env: Mapping[str, str]) -> Iterator[str]:
    """The values in `[mcp]` that look like keys: what a variable or a header holds that is named so. Unread settings are taken as they are."""
    servers = section.get("servers")
    for server in servers.values() if isinstance(servers, dict) else ():
        for key in ("env", "headers"):
            values = server.get(key) if isinstance(server, dict) else None
            for name, text in values.items() if isinstance(values, dict) else ():
                if isinstance(text, str) and (is_secret(name) or name.lower() in ("authorization", "cookie")):
                    whole = _VARIABLE.sub(lambda found: env.get(found[1], found[2] or ""), text)
                    yield from (word for word in whole.split() if len(word) >= 8)
