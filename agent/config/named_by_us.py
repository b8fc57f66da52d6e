"""What in a project the settings of this program name as something to run: scripts of hooks, MCP servers and programs in place of models."""

from __future__ import annotations

import functools
import os
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from agent.config.paths import Paths, project_folder
from agent.config.toml import load
from agent.errors import UsageError
from agent.files.protected import spelled
from agent.files.run_by import TooMuch, Work, files_run_by

MOST_BYTES = 256 * 1024
"""Of a file of settings; longer ones are nobody's."""
LONG_S = 0.05
KEPT_S = 2.0
"""An answer that took long is kept for a moment, until the settings change: what is on the disk may change, too."""


def named_by_us(root: Path) -> frozenset[Path]:
    """The files, there or not, that would be run. What a program named there reads in its turn (`make`, `pytest`) is not among them.

    Raises TooMuch.
    """
    files = [(Paths.from_env(os.environ).config_file, root)]
    if (project := project_folder(root)) is not None:
        files.append((project / "config.toml", project.parent))
    asked = tuple((str(file), str(folder), _state(file)) for file, folder in files)
    now = time.monotonic()
    if (known := _answers.get(asked)) is None or known.until < now:
        begun = time.thread_time()
        known = _Answer(_named(asked), now + KEPT_S)
        if time.thread_time() - begun > LONG_S:
            _answers.clear()
            _answers[asked] = known
    if known.files is None:
        raise TooMuch
    return known.files


_State = tuple[int, int, int]
"""Of a file: when it was changed, its size, its inode."""
_Asked = tuple[tuple[str, str, _State | None], ...]
"""The files of settings, each with the folder that its lines run in."""


class _Answer(NamedTuple):
    """What they name, None where that is too much, and how long this holds."""

    files: frozenset[Path] | None
    until: float


_answers: dict[_Asked, _Answer] = {}


def _named(asked: _Asked) -> frozenset[Path] | None:
    work = Work()
    found: set[Path] = set()
    try:
        for file, folder, state in asked:
            if state is not None:
                if state[1] > MOST_BYTES:
                    raise TooMuch
                found.update(scripts_of(_settings(file, state), Path(folder), work))
    except TooMuch:
        return None
    return frozenset(found)


def _state(file: Path) -> _State | None:
    try:
        status = file.stat()
    except (OSError, ValueError):
        return None
    return (status.st_mtime_ns, status.st_size, status.st_ino) if stat.S_ISREG(status.st_mode) else None


@functools.lru_cache(maxsize=8)
def _settings(file: str, _state: _State) -> Mapping[str, Any]:
    try:
        return load(Path(file))
    except UsageError:
        return {}


def why_named_by_us(path: Path, root: Path) -> str | None:
    """Why changing such a file needs the user's word; None where it is none. Both with their links resolved."""
    try:
        named = named_by_us(root)
    except TooMuch:
        return "the settings name too much to be looked through, and a hook or an MCP server may run it"
    name, whole = spelled(path.name), spelled(str(path))
    if any(spelled(place.name) == name and spelled(str(place)) == whole for place in named):
        return "a hook or an MCP server runs it"
    return None


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
