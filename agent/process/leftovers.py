"""Commands that outlive their program: after `kill -9` nobody is left to end them, so the next start does.

While a process runs commands it has a file in the folder `running` of the state folder, and the file's lock for as long as it lives.
Each command's mark (`agent.process.process.MARK`) is in that file from before the command starts until it is known to be gone. A file that
can be locked belongs to a process that is dead; what still carries a mark in it was left behind.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from pathlib import Path

from agent.files.lock import try_lock
from agent.text import foreign_json

FOLDER = "running"
SUFFIX = ".commands"
TERM_S = 0.5
"""Seconds between SIGTERM and SIGKILL."""
SHOWN = 80
"""Characters of a command that are told."""


class RunningCommands:
    """What this process has running. Nothing is made on disk before the first command, and a disk that takes nothing stops none."""

    def __init__(self, state: Path) -> None:
        self._folder = state / FOLDER
        self._fd: int | None = None
        self._path: Path | None = None
        self._open: set[str] = set()

    def begin(self, mark: str, command: str) -> None:
        """A command is about to be started, and all that it starts will carry the mark."""
        self._open.add(mark)
        with contextlib.suppress(OSError):
            self._append({"mark": mark, "command": command[:1_000]})

    def end(self, mark: str) -> None:
        """It is gone. Safe to call twice."""
        if mark not in self._open:
            return
        self._open.discard(mark)
        with contextlib.suppress(OSError):
            if not self._open and self._fd is not None:
                os.ftruncate(self._fd, 0)
            else:
                self._append({"mark": mark, "gone": True})

    def close(self) -> None:
        """All are gone: the process ends in order."""
        if self._fd is not None and self._path is not None:
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)
                os.close(self._fd)
            self._fd = None

    def _append(self, entry: dict[str, object]) -> None:
        if self._fd is None:
            self._claim()
        if self._fd is not None:
            os.write(self._fd, json.dumps(entry).encode() + b"\n")

    def _claim(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self._folder / f"{os.getpid()}-{os.urandom(4).hex()}{SUFFIX}"
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | getattr(os, "O_CLOEXEC", 0), 0o600)
        if not try_lock(fd):  # no locks here: nobody could tell the dead from the living
            os.close(fd)
            path.unlink(missing_ok=True)
            return
        self._fd, self._path = fd, path


def sweep(state: Path) -> list[str]:
    """End what dead processes have left running. Returns what to tell the user, a line for each command. Blocking, at most a second.

    Where processes can't be looked at by their environment (no /proc) nothing is ended, and the line says that it may still run.
    """
    try:
        files = [Path(entry.path) for entry in os.scandir(state / FOLDER) if entry.name.endswith(SUFFIX)]
    except OSError:  # mostly: there is no such folder
        return []
    told: list[str] = []
    for file in files:
        with contextlib.suppress(OSError), file.open("rb") as opened:
            if not try_lock(opened.fileno()):
                continue  # its process lives, or nobody can tell
            told += [line for mark, command in _open_in(opened.read()) if (line := _end(mark, command)) is not None]
            file.unlink(missing_ok=True)
    return told


def _open_in(data: bytes) -> list[tuple[str, str]]:
    left: dict[str, str] = {}
    for line in data.splitlines():
        with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):  # torn by the kill
            entry = foreign_json.loads(line)
            if entry.get("gone"):
                left.pop(entry["mark"], None)
            elif isinstance(entry["mark"], str) and len(entry["mark"]) >= 16:
                left[entry["mark"]] = str(entry["command"])
    return list(left.items())


def _end(mark: str, command: str) -> str | None:
    from agent.process.process import MARK, marked

    if mark in os.environ.get(MARK, ""):  # this very process was started by it
        return None
    words = " ".join(command.split())
    shown = words if len(words) <= SHOWN else words[: SHOWN - 1] + "…"
    if not Path("/proc/self/environ").exists():
        return f"a run that was killed may have left this command running: {shown}"
    if not (left := marked(mark.encode())):
        return None
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)
        until = time.monotonic() + TERM_S
        while (left := marked(mark.encode())) and time.monotonic() < until:
            time.sleep(0.02)
    if left:
        return f"a run that was killed has left this command running, and it could not be ended (process {left[0]}): {shown}"
    return f"a run that was killed had left this command running; it was ended: {shown}"
