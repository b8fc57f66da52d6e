"""What in a project the settings of this program name as something to run: scripts of hooks, MCP servers and programs in place of models."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from agent.config.paths import Paths, project_folder
from agent.config.toml import load
from agent.errors import UsageError
from agent.files.protected import spelled
from agent.files.run_by import TooMuch, Work, files_run_by


def named_by_us(root: Path) -> frozenset[Path]:
    """The files, there or not, that would be run. What a program named there reads in its turn (`make`, `pytest`) is not among them.

    Raises TooMuch.
    """
    work = Work()
    found = set(_files(Paths.from_env(os.environ).config_file, root, work))
    if (project := project_folder(root)) is not None:
        found.update(_files(project / "config.toml", project.parent, work))
    return frozenset(found)


def why_named_by_us(path: Path, root: Path) -> str | None:
    """Why changing such a file needs the user's word; None where it is none. Both with their links resolved."""
    try:
        named = {spelled(str(place)) for place in named_by_us(root)}
    except TooMuch:
        return "the settings name too much to be looked through, and a hook or an MCP server may run it"
    return "a hook or an MCP server runs it" if spelled(str(path)) in named else None


def scripts_of(settings: Mapping[str, Any], folder: Path, work: Work | None = None) -> Iterator[Path]:
    """The files that the commands of such settings may run. Raises TooMuch."""
    work = work or Work()
    for start, line in _lines(settings):
        for place in {folder, folder / start}:
            yield from files_run_by(
                [word.replace("{cwd}", str(folder)) for word in line] if not isinstance(line, str) else line,
                place,
                work=work,
            )


def _files(file: Path, folder: Path, work: Work) -> Iterator[Path]:
    try:
        settings = load(file)
    except UsageError:
        return
    yield from scripts_of(settings, folder, work)


def _lines(settings: Mapping[str, Any]) -> Iterator[tuple[str, str | Sequence[str]]]:
    """Each command line, with the folder that it starts in, from the working folder."""
    for hook in _items(settings.get("hooks")):
        yield "", str(hook.get("command", ""))
    mcp, endpoints = settings.get("mcp"), settings.get("endpoints")
    servers = mcp.get("servers") if isinstance(mcp, dict) else None
    for server in _items(_values(servers)):
        place, words = server.get("cwd"), [*_texts([server.get("command")]), *_texts(server.get("args"))]
        yield place if isinstance(place, str) and "\0" not in place else "", [*_variables(server), *words]
    for endpoint in _items(_values(endpoints)):
        yield "", [*_variables(endpoint), *_texts(endpoint.get("command"))]


def _variables(table: Mapping[str, Any]) -> Iterator[str]:
    given = table.get("env")
    yield from (f"{name}={value}" for name, value in (given.items() if isinstance(given, dict) else ()))


def _texts(value: Any) -> list[str]:
    return [str(item) for item in value if item is not None] if isinstance(value, list) else []


def _values(value: Any) -> list[Any]:
    return list(value.values()) if isinstance(value, dict) else []


def _items(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
