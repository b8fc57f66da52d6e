"""Adding a line to AGENTS.md, the instructions that a model gets with each new conversation: the project's, or the user's own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from agent.config.trust import speaks, taken_up
from agent.errors import StateError, UsageError
from agent.files.own_files import make_folder, read_bytes, write_atomically

if TYPE_CHECKING:
    from agent.host import Host

MARK = "# "
"""How a typed line begins that is meant for AGENTS.md."""
NAME = "AGENTS.md"


class Place(NamedTuple):
    """A file that a line can be added to. `within`: the folder that it must not lead out of; None for the user's own."""

    id: str
    about: str
    path: Path
    within: Path | None


def is_note(text: str) -> bool:
    """Whether a typed text is one line for AGENTS.md."""
    return text.startswith(MARK) and bool(text[len(MARK) :].strip()) and "\n" not in text.strip()


def places(host: Host) -> tuple[Place, ...]:
    """Where it can go: the project's file (at its root, where `.git` is), and the user's."""
    cwd = host.agent.tools.context.cwd
    root = next((folder for folder in (cwd, *cwd.parents) if (folder / ".git").exists()), cwd)
    own = host.config.paths.config
    return (
        Place("project", "this project, for everybody who works on it", root / NAME, root),
        Place("user", "all your projects", own / NAME, None),
    )


def add(host: Host, place: Place, text: str) -> None:
    """Add a line to a file, or make it; keys are taken out. Blocking. Raises UsageError, StateError; the file then is as it was."""
    note = host.config.redact(" ".join(text.removeprefix(MARK).split()))
    path = _real(host, place)
    spoke = place.within is not None and speaks(host.config, path)
    try:
        before = read_bytes(path) if os.path.lexists(path) else b""
        end = b"\r\n" if b"\r\n" in before else b"\n"
        gap = b"" if not before or before.endswith(b"\n") else end
        if not before:
            make_folder(path.parent)
        write_atomically(path, before + gap + f"- {note}".encode("utf-8", "replace") + end, mode=0o666)
    except OSError as error:
        raise StateError(f"{path} can't be written: {error.strerror or error}", remedy="nothing was added") from error
    if spoke:
        taken_up(host.config, path)


def _real(host: Host, place: Place) -> Path:
    """The file itself, where a link leads to it. Raises UsageError for one that is denied or lies outside."""
    try:
        path = place.path.resolve()
    except (OSError, RuntimeError):
        raise UsageError(f"{place.path} is a link that leads nowhere", remedy="remove it") from None
    if place.within is not None and not path.is_relative_to(place.within.resolve()):
        raise UsageError(f"{place.path} is a link to {path}, outside of the project", remedy="add it there yourself")
    deny = host.agent.tools.context.deny_paths
    if place.within is not None and (pattern := deny.match(place.path) or deny.match(path)):
        raise UsageError(f"{place.path} is denied ({pattern})", remedy="see deny_paths in config.toml")
    return path
