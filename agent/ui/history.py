"""What the user entered before: one file for all sessions and faces, shared safely by processes that run at the same time."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from agent.files.lock import wait_for_lock
from agent.files.own_files import make_folder, read_bytes
from agent.text import foreign_json
from agent.ui.fuzzy import Match, rank

KEEP = 1_000
"""Entries that are kept. The file is cut back to them once it holds twice as many."""

MAX_LENGTH = 20_000
"""Characters. A longer entry is remembered for this process alone: a pasted log would fill the file."""


class History:
    """Entered lines, oldest first, in a JSONL file of the user's own (mode 0600).

    `redact` takes keys out of an entry before anything keeps it. `load` and `write` touch the disk, so a face calls them in a
    thread; a disk that fails is no reason to lose a prompt, so they never raise for it. A line that begins with a space is
    remembered for this process alone, as shells do it; without a path all are.
    """

    def __init__(
        self, path: Path | None = None, *, redact: Callable[[str], str] = lambda text: text, keep: int = KEEP
    ) -> None:
        self.path = path
        self.keep = keep
        self.entries: list[str] = []
        self.redact = redact

    def load(self) -> None:
        """Read the file. Lines that are damaged are passed over; of equal entries the newest stays."""
        if self.path is None:
            return
        with contextlib.suppress(OSError):
            earlier = _read(read_bytes(self.path))
            self.entries = list(_newest([*earlier, *self.entries], self.keep))

    def remember(self, text: str) -> str | None:
        """Take an entry into memory, as the newest; returns what `write` is to keep, None where nothing is."""
        own = text.startswith(" ")
        text = self.redact(text).strip()
        if not text:
            return None
        repeated = bool(self.entries) and self.entries[-1] == text
        self.entries = list(_newest([*self.entries, text], self.keep))
        return None if own or repeated or len(text) > MAX_LENGTH else text

    def write(self, text: str) -> None:
        """Append an entry to the file, and cut the file back where it has grown too long."""
        if self.path is None:
            return
        line = json.dumps({"text": text, "time": round(time.time(), 3)}, ensure_ascii=False)
        data = line.encode("utf-8", "replace") + b"\n"
        with contextlib.suppress(OSError), _locked(self.path) as file:
            if _ends_torn(file):
                data = b"\n" + data
            file.write(data)
            file.flush()
            file.seek(0)
            whole = file.read()
            if whole.count(b"\n") > 2 * self.keep:
                _cut(self.path, whole, self.keep)

    def add(self, text: str) -> None:
        """`remember` and `write` in one, for callers that may wait for the disk."""
        if (kept := self.remember(text)) is not None:
            self.write(kept)

    def search(self, query: str, limit: int = 20) -> list[tuple[str, Match]]:
        """Entries that match, the best first and of equals the newest; with an empty query the newest first."""
        return rank(query, reversed(self.entries), limit)


class Recall:
    """A walk through the history with ↑ and ↓. What was typed, and what was changed on the way, is there again on the way back."""

    def __init__(self, history: History) -> None:
        self._history = history
        self.reset()

    def reset(self) -> None:
        """Back to the present: the next step goes to the newest entry."""
        self._entries: list[str] = []
        self._changed: dict[int, str] = {}
        self._at: int | None = None

    def older(self, current: str) -> str | None:
        """The entry before; None at the beginning. `current` is what stands in the composer now.

        From a line that begins with `!` the walk goes through shell commands alone.
        """
        if self._at is None:
            entries = self._history.entries
            shell = current.startswith("!")
            self._entries = [entry for entry in entries if not shell or entry.startswith("!")]
            self._at = len(self._entries)
        return self._step(current, -1)

    def newer(self, current: str) -> str | None:
        """The entry after, at last what was being typed; None at the end."""
        return None if self._at is None else self._step(current, +1)

    def _step(self, current: str, by: int) -> str | None:
        assert self._at is not None
        if not 0 <= self._at + by <= len(self._entries):
            return None
        self._changed[self._at] = current
        self._at += by
        original = self._entries[self._at] if self._at < len(self._entries) else ""
        return self._changed.get(self._at, original)


def _newest(entries: list[str], keep: int) -> Iterator[str]:
    """Each entry once, at the place of its newest, at most `keep`."""
    last = {entry: at for at, entry in enumerate(entries)}
    kept = [entry for at, entry in enumerate(entries) if last[entry] == at]
    yield from kept[-keep:]


def _read(data: bytes) -> Iterator[str]:
    for line in data.decode("utf-8", "replace").split("\n"):
        with contextlib.suppress(ValueError):
            entry = foreign_json.loads(line)
            if isinstance(entry, dict) and isinstance(text := entry.get("text"), str) and text.strip():
                yield text


def _cut(path: Path, whole: bytes, keep: int) -> None:
    lines = [line for line in whole.splitlines(keepends=True) if line.strip()][-keep:]
    new = path.with_name(f".{path.name}.{os.urandom(6).hex()}.tmp")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.writelines(lines)
    new.replace(path)


def _ends_torn(file: BinaryIO) -> bool:
    """Whether the last line has no end: a process died in mid-write, and the next entry must not be lost with it."""
    if file.seek(0, os.SEEK_END) == 0:
        return False
    file.seek(-1, os.SEEK_END)
    return file.read(1) != b"\n"


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[BinaryIO]:
    """The file, opened for appending and held by us alone; made where it is missing."""
    make_folder(path.parent)
    while True:
        with os.fdopen(os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600), "rb+") as file:
            wait_for_lock(file.fileno())
            # Another process may have put a shorter file in its place while we waited for the lock.
            if _same(file, path):
                yield file
                return


def _same(file: BinaryIO, path: Path) -> bool:
    try:
        now = path.stat()
    except FileNotFoundError:
        return False
    ours = os.fstat(file.fileno())
    return (ours.st_dev, ours.st_ino) == (now.st_dev, now.st_ino)
