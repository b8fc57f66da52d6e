"""The lines of a session on disk: one writer at a time, each line whole or told of, synced behind the writer's back.

A line is in the kernel's hands when `append` returns, so a killed process loses none. A thread then brings it to the disk, in order,
so that nobody waits for a slow one; `sync` and `close` do wait.
"""

from __future__ import annotations

import errno
import os
import re
import threading
import time
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from agent.errors import StateError, UsageError
from agent.files.lock import try_lock
from agent.files.own_files import make_folder, open_to_append, read_bytes
from agent.text import foreign_json
from agent.text.encodable import whole_value
from agent.text.numbers import plural

VERSION = 1
_HALF = re.compile(rb"\\u[dD][89a-fA-F]")
_LAST_VERSION = 1_000
"""A higher one is damage and no program's: one such line must not make the others unreadable."""

_BUSY_S = 0.5
"""How long a lock is asked for: a chat that is just being closed (a reloaded page) is no reason to refuse."""
_TOLD = 3
"""Damaged lines that are told one by one."""
_MOST_CHARACTERS = 2**30
"""Of one line: what a tool gave may be large, and was ours when it was written."""


class Line(NamedTuple):
    """One entry as it is to be taken: `name` is its id, unlike all others; `parent` is an entry before it."""

    name: str
    parent: str | None
    entry: dict[str, Any]


class SessionFile:
    """The file that a session is written to; nothing is made or opened before `claim` or the first `append`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd: int | None = None
        self._changed = threading.Condition()
        self._written = self._synced = 0
        self._failed: OSError | None = None
        self._thread: threading.Thread | None = None
        self._closing = False

    def claim(self) -> None:
        """Open the file for writing. Raises UsageError where another process has it open, StateError where it can't be."""
        if self._fd is None:
            try:
                self._fd = self._open()
            except OSError as error:
                raise self._problem(error) from error

    def append(self, data: bytes) -> None:
        """Write whole lines at the end. Raises what `claim` raises; what can't be written whole is not written at all."""
        self.claim()
        assert self._fd is not None
        try:
            if self._failed is not None:
                raise self._failed
            start = self._size_of(self._fd)
            try:
                _write(self._fd, data)
            except OSError:  # a full disk takes a part: leave no torn line in the middle of the file
                os.ftruncate(self._fd, start)
                raise
        except OSError as error:
            raise self._problem(error) from error
        with self._changed:
            self._written += 1
            if self._thread is None:
                self._thread = threading.Thread(target=self._keep_synced, name="session sync", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def sync(self) -> None:
        """Wait until what was written is on the disk. Blocking: call it in a thread. Raises StateError."""
        with self._changed:
            wanted = self._written
            self._changed.wait_for(lambda: self._synced >= wanted or self._failed is not None)
            if self._failed is not None:
                raise self._problem(self._failed)

    def close(self) -> None:
        """Bring the rest to the disk and let go of the file."""
        if self._fd is None:
            return
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()
        os.close(self._fd)
        self._fd = self._thread = None
        self._closing = False

    def _size_of(self, fd: int) -> int:
        """How much is in the file. Raises FileNotFoundError where what would be written there could never be read again."""
        opened = os.fstat(fd)
        try:
            there = os.path.samestat(opened, self.path.stat())
        except OSError:
            there = False
        if not there:
            raise FileNotFoundError(errno.ENOENT, "the file has been removed or moved away")
        return opened.st_size

    def _keep_synced(self) -> None:
        with suppress(OSError):  # a new file's name is in its folder
            _sync_folder(self.path.parent)
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._written > self._synced or self._closing)
                if self._written == self._synced or self._fd is None:
                    return
                wanted, fd = self._written, self._fd
            failed = None
            try:
                os.fsync(fd)
            except OSError as error:
                if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # a file system that knows no syncing
                    failed = error
            with self._changed:
                self._synced, self._failed = wanted, failed
                self._changed.notify_all()
                if failed is not None:
                    return

    def _problem(self, error: OSError) -> StateError:
        if isinstance(error, FileNotFoundError):
            remedy = "put the folder back where it was to resume this session, or start a new one"
            return StateError(f"can't write the session {self.path}: {error.strerror}", remedy=remedy)
        return StateError(
            f"can't write the session {self.path}: {error.strerror or error}",
            remedy="free some space or set MOA_STATE_DIR to a folder that can be written; nothing that was written before is lost",
        )

    def _open(self) -> int:
        make_folder(self.path.parent)
        fd = open_to_append(self.path)
        try:
            self._lock(fd)
            size = os.fstat(fd).st_size
            if size and os.pread(fd, 1, size - 1) != b"\n":  # a torn last line gets an end, so that the next is whole
                _write(fd, b"\n")
        except BaseException:
            os.close(fd)
            raise
        return fd

    def _lock(self, fd: int) -> None:
        until = time.monotonic() + _BUSY_S
        while try_lock(fd) is False:
            if time.monotonic() >= until:
                raise UsageError(
                    f"session {self.path.stem} is open in another process",
                    remedy=f"wait for it to end, or start a new session; to read it: moa session show {self.path.stem}",
                    kind="session_busy",
                )
            time.sleep(0.02)


def _write(fd: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        written = os.write(fd, rest)
        if not written:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        rest = rest[written:]


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


# Reading


def read_lines(path: Path) -> tuple[list[Line], list[str]]:
    """What a file holds, in order, and what is wrong with it, in words.

    Lines that are no entries are left out. Lines out of order are put in order. Of two different lines with one id (two machines
    wrote to copies that were then joined) both are kept. Raises StateError where the file can't be read, UsageError where a newer
    version of the program wrote it.
    """
    try:
        raw = read_bytes(path)
    except OSError as error:
        raise StateError(
            f"can't read the session {path}: {error.strerror or error}", remedy="check the file's permissions"
        ) from error
    found, told = _parsed(path, raw)
    if not raw.strip(b"\0\r\n\t "):
        told.append("its file is empty: a copy that was not finished, or a disk that was full; nothing of it is left")
    names = [line.name for line in found]
    if len(set(names)) < len(names):
        found = _without_repeats(found, told)
    elif any(_number(after) < _number(before) for before, after in pairwise(names)):
        told.append("its lines were out of order and were put in order")
        found.sort(key=lambda line: _number(line.name))
    return _linked(found), told


def _parsed(path: Path, raw: bytes) -> tuple[list[Line], list[str]]:
    found: list[Line] = []
    told: list[str] = []
    damaged = 0
    lines = raw.split(b"\n")
    for number, data in enumerate(lines, 1):
        if not (data := data.strip()):
            continue
        try:
            # A power failure leaves zeros, an editor on another system a byte order mark.
            envelope = foreign_json.loads(data.strip(b"\0 \r"), most=_MOST_CHARACTERS)
            if not isinstance(version := envelope["v"], int) or not 0 < version <= _LAST_VERSION:
                raise ValueError("no version")
            if version > VERSION:
                raise _newer(path, version)
            if _HALF.search(data):  # half a character, as an escape: it can go on no wire and into no file
                envelope = whole_value(envelope)
            found.append(_line(envelope))
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            damaged += 1
            if damaged <= _TOLD:
                what = "cut short" if number >= len(lines) - 1 else f"damaged ({reason(error)})"
                told.append(f"line {number} is {what} and was left out")
    if damaged > _TOLD:
        told.append(f"{plural(damaged - _TOLD, 'more damaged line')} left out")
    return found, told


def _line(envelope: dict[str, Any]) -> Line:
    name, parent, entry = envelope["id"], envelope["parent"], envelope["entry"]
    if not isinstance(entry["type"], str) or not (parent is None or isinstance(parent, str)):
        raise TypeError("no entry")
    if not (isinstance(name, str) and name[:1] == "e" and name[1:].isascii() and name[1:].isdigit() and len(name) < 20):
        raise ValueError("no id")
    return Line(name, parent, entry)


def reason(error: Exception) -> str:
    """Why a line could not be read, in a few words."""
    if isinstance(error, KeyError):
        return f"no {error}"
    return (str(error).splitlines() or [type(error).__name__])[0][:100]


def _newer(path: Path, version: object) -> UsageError:
    return UsageError(
        f"session {path.stem} was written by a newer version of the program (format {version}, this one knows {VERSION})",
        remedy="update the program; the file is left as it is",
        kind="session_version",
    )


def _without_repeats(found: list[Line], told: list[str]) -> list[Line]:
    """Lines that are there twice once, and the others of one id under names of their own: the last of a name is the one meant after it."""
    kept: list[Line] = []
    now: dict[str, str] = {}
    seen: dict[str, list[Line]] = {}
    for line in found:
        before = seen.setdefault(line.name, [])
        if line in before:
            continue
        before.append(line)
        parent = line.parent if line.parent is None else now.get(line.parent, line.parent)
        name = line.name if len(before) == 1 else f"{line.name}.{len(before)}"
        now[line.name] = name
        entry = line.entry
        if entry["type"] == "head" and isinstance(entry.get("to"), str):
            entry = {**entry, "to": now.get(entry["to"], entry["to"])}
        kept.append(Line(name, parent, entry))
    told.append("some of its lines are there twice, as if copies of it had been joined; all that differ were kept")
    return kept


def _linked(found: list[Line]) -> list[Line]:
    """Every parent an entry before: where it is none (its line was damaged), the message that was the head then. So there are no rings."""
    known: set[str] = set()
    head: str | None = None
    linked = []
    for line in found:
        if line.parent is not None and line.parent not in known:
            line = line._replace(parent=head)
        kind = line.entry["type"]
        if kind in ("message", "compaction"):
            known.add(line.name)
            head = line.name
        elif kind == "head":
            to = line.entry.get("to", "")
            if not (to is None or (isinstance(to, str) and to in known)):
                continue  # what it went back to was damaged
            head = to
        linked.append(line)
    return linked


def _number(name: str) -> int:
    return int(name[1:])
