"""Database files that this process has open. Nothing but SQLite may open one of them here, not even to look.

When a process closes any descriptor of a file, it loses all locks that it holds on that file (fcntl(2)): the next other program to
leave would then delete the write-ahead log under an open chat (https://sqlite.org/howtocorrupt.html, 2.2).
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

_open: Counter[Path] = Counter()


def began(path: Path) -> None:
    """A database is open from now on."""
    _open[path] += 1


def ended(path: Path) -> None:
    """It is closed."""
    _open[path] -= 1


def in_use(path: Path) -> bool:
    """Whether a path leads to such a file, or to one of those that SQLite keeps beside it, by whatever name."""
    try:
        asked = path.stat()
    except (OSError, ValueError):
        return False
    return any(_same(asked, f"{database}{end}") for database in +_open for end in ("", "-wal", "-shm"))


def _same(asked: os.stat_result, name: str) -> bool:
    try:
        return os.path.samestat(asked, os.stat(name))  # noqa: PTH116 - the name is put together
    except OSError:
        return False
