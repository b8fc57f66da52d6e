"""Other processes of this machine, found in /proc."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

needs_proc = pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="looks for processes in /proc")


def running(mark: str) -> list[int]:
    """The processes that have this word in their command line (and are no zombies)."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
            if mark.encode() in words and "(" in (stat := (entry / "stat").read_text()) and _state(stat) != "Z":
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def alive(pid: int) -> bool:
    """True while the process runs (a zombie that nobody collects does not)."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        return _state(Path(f"/proc/{pid}/stat").read_text()) != "Z"
    except OSError:
        return not Path("/proc/self/stat").exists()


def children(pid: int) -> list[int]:
    """The processes that `pid` started, from whichever of its threads."""
    told = [(task / "children").read_text() for task in Path(f"/proc/{pid}/task").iterdir()]
    return sorted(int(child) for text in told for child in text.split())


def _state(stat: str) -> str:
    return stat.rpartition(")")[2].split()[0]
