"""What file tools may touch while nobody watches: what a confined command could, and no more (`agent.sandbox.bubblewrap`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

HIDDEN = ("/home", "/root", "/run", "/var/tmp", "/tmp", "/proc", "/sys", "/dev")
"""What a confined command does not see of the machine, beside the home folder."""


class Bounds:
    """The folders of one session. `read` and `write` are the further ones of the `[sandbox]` section."""

    def __init__(self, cwd: Path, scratch: Path, read: Sequence[str], write: Sequence[str]) -> None:
        self._writable = (cwd.resolve(), scratch.resolve() / "tmp", *_folders(write))
        self._readable = (*self._writable, scratch.resolve(), *_folders(read))

    def why_not_written(self, path: Path) -> str | None:
        """Why a path (absolute, links resolved) may not be written; None where it may."""
        if _in(path, self._writable):
            return None
        return "while a goal runs unattended only the working folder is written in, and what `[sandbox] write` names"

    def why_not_read(self, path: Path) -> str | None:
        """Why a path (absolute, links resolved) may not be read; None where it may."""
        if _in(path, self._readable):
            return None
        hidden = (*map(Path, HIDDEN), Path.home().resolve())
        # A folder above one of them is a way in: a search goes down from where it begins.
        if not _in(path, hidden) and not any(folder.is_relative_to(path) for folder in hidden):
            return None
        return "while a goal runs unattended only the working folder and the system are read, and what `[sandbox] read` names"


def _folders(names: Sequence[str]) -> list[Path]:
    return [Path(name).expanduser().resolve() for name in names]


def _in(path: Path, folders: object) -> bool:
    return any(path.is_relative_to(folder) for folder in folders)  # type: ignore[attr-defined]
