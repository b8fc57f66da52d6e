"""Which files a search looks at: what git knows or would take, else all but the usual clutter; never a denied one."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from agent.tools.base import ToolContext
from agent.tools.process import Child

MAX_FILES = 200_000
LIST_S = 15.0
"""Seconds that listing may take."""

CLUTTER = frozenset(
    {
        *(".git", ".hg", ".svn", ".DS_Store", ".idea", ".direnv"),
        *("__pycache__", ".venv", "venv", ".tox", ".nox", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis"),
        *("node_modules", ".next", ".gradle", ".terraform"),
    }
)
"""Names that no search looks into where there is no .gitignore to ask."""


class Listing(NamedTuple):
    """Files below a folder, as paths from it with slashes, sorted. `complete` is false where a limit cut the list short."""

    files: list[str]
    complete: bool = True


async def list_files(context: ToolContext, folder: Path) -> Listing:
    """All files below a folder that a search should see. Links are listed, not followed."""
    listing = await _from_git(folder) or await _from_walk(context, folder)
    return await asyncio.to_thread(_allowed, context, folder, listing)


def _allowed(context: ToolContext, folder: Path, listing: Listing) -> Listing:
    denied = context.deny_paths.match_name
    return Listing(sorted(name for name in listing.files if not denied(folder / name)), listing.complete)


async def _from_git(folder: Path) -> Listing | None:
    """What git tracks and what it would not ignore; None outside a repository, without git, and for an ignored folder."""
    data = bytearray()
    argv = [
        "git",
        # A repository's own settings may name a program to run here; looking at files must not run it.
        *("-c", "core.fsmonitor=false"),
        *("ls-files", "--cached", "--others", "--exclude-standard", "--deduplicate", "-z"),
    ]
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        child = await Child.start(
            argv, cwd=folder, feed=data.extend, env=env | {"GIT_OPTIONAL_LOCKS": "0"}, stderr=asyncio.subprocess.DEVNULL
        )
    except OSError:
        return None
    try:
        code = await child.wait(LIST_S)
        await child.settle(LIST_S)
    finally:
        await child.end()
    if code != 0 or not data:
        return None
    names = [os.fsdecode(name) for name in bytes(data).split(b"\0") if name]
    return Listing(names[:MAX_FILES], len(names) <= MAX_FILES)


async def _from_walk(context: ToolContext, folder: Path) -> Listing:
    stop = threading.Event()
    try:
        return await asyncio.to_thread(_walk, context, folder, stop)
    finally:
        stop.set()  # a thread can't be cancelled, only asked


def _walk(context: ToolContext, folder: Path, stop: threading.Event) -> Listing:
    deadline = time.monotonic() + LIST_S
    files: list[str] = []
    for prefix, entry in _entries(folder):
        if stop.is_set() or len(files) >= MAX_FILES or time.monotonic() > deadline:
            return Listing(files, complete=False)
        if not context.deny_paths.match_name(folder / prefix / entry):
            files.append(prefix + entry)
    return Listing(files)


def _entries(folder: Path) -> Iterator[tuple[str, str]]:
    waiting = [""]
    while waiting:
        prefix = waiting.pop()
        try:
            with os.scandir(folder / prefix) as entries:
                for entry in entries:
                    if entry.name in CLUTTER:
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(f"{prefix}{entry.name}/")
                    else:
                        yield prefix, entry.name
        except OSError:
            continue
