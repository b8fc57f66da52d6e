"""Which files a search looks at: what git knows or would take, else all but the usual clutter; never a denied one."""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from agent.process import git
from agent.process.process import Child
from agent.tools.base import ToolContext

MAX_FILES = 200_000
LIST_S, GIT_S = 15.0, 10.0
"""Seconds that listing may take, and how many of them git gets."""
SOON_S, LOOK_S = 0.5, 3.0
"""What takes longer than the one may stand at a pipe; so long one is looked for."""
READ_BY_SEARCHES = frozenset({".gitignore", ".rgignore"})
"""What git and ripgrep read in each folder. A pipe of that name, which they open, holds them for ever."""

CLUTTER = frozenset(
    {
        *(".git", ".hg", ".svn", ".DS_Store", ".idea", ".direnv"),
        *("__pycache__", ".venv", "venv", ".tox", ".nox", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis"),
        *("node_modules", ".next", ".gradle", ".terraform"),
    }
)
"""Names that no search looks into where there is no .gitignore to ask."""

IGNORED = ("--cached", "--ignored", "--exclude-standard", "-z")
OTHERS = ("--others", "--exclude-standard", "--deduplicate", "-z")


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


class Walked(NamedTuple):
    """What a search that walks by itself has to know: which files count (not sorted, denied ones among them), and those of them that
    its own reading of .gitignore leaves out, because they are tracked all the same. `git`: .gitignore counts at all."""

    listing: Listing
    ignored: list[str]
    git: bool


async def in_git(folder: Path) -> bool:
    """Whether a folder may be in a work tree of git's; `walked` then asks git."""
    return await asyncio.to_thread(git.root_of, folder) is not None


async def walked(context: ToolContext, folder: Path, *, ask_git: bool) -> Walked | None:
    """The files for a search that walks by itself; None where git is to be asked and can't say."""
    if not ask_git:
        return Walked(await _from_walk(context, folder), [], False)
    root = await asyncio.to_thread(git.root_of, folder)
    if root is None:
        return None
    try:
        found = await _asked(root, folder, [OTHERS, IGNORED], index=True)
    except TimeoutError:
        return None
    if not found or found[0] is None:
        return None
    return Walked(found[0], found[1].files if found[1] is not None else [], True)


async def at_a_pipe(work: asyncio.Task[Any], folder: Path) -> bool:
    """Whether git or ripgrep, whose end a task waits for, stand at a pipe in a folder: one of the files that they read there is none. False
    as soon as the task has ended."""
    if (await asyncio.wait((work,), timeout=SOON_S))[0]:
        return False
    stop = threading.Event()
    looking = asyncio.create_task(asyncio.to_thread(_odd, folder, stop))
    try:
        await asyncio.wait((work, looking), return_when=asyncio.FIRST_COMPLETED)
        return looking.done() and looking.result()
    finally:
        stop.set()  # a thread can't be cancelled, only asked
        looking.cancel()


def _odd(folder: Path, stop: threading.Event) -> bool:
    deadline = time.monotonic() + LOOK_S
    if any(_is_endless(parent / name) for parent in folder.parents for name in READ_BY_SEARCHES):
        return True
    waiting = [str(folder)]
    while waiting and not stop.is_set() and time.monotonic() < deadline:
        with contextlib.suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                elif entry.name in READ_BY_SEARCHES and _is_endless(Path(entry.path)):
                    return True
    return False


def _is_endless(path: Path) -> bool:
    try:
        mode = path.stat().st_mode  # a link is followed, as ripgrep does: to /dev/zero, say
    except OSError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


async def _from_git(folder: Path) -> Listing | None:
    """What git tracks and what it would not ignore; None outside a repository, without git, and for an ignored folder."""
    root = await asyncio.to_thread(git.root_of, folder)
    if root is None:
        return None
    try:
        # A crafted index, or one of a kind that needs the repository's own files: then only what is there counts.
        return await _ls_files(root, folder, index=True) or await _ls_files(root, folder, index=False)
    except TimeoutError:  # a pipe for a .gitignore, perhaps
        return None


async def _ls_files(root: Path, folder: Path, *, index: bool) -> Listing | None:
    """Raises TimeoutError."""
    found = await _asked(root, folder, [OTHERS], index=index)
    return found[0] if found else None


async def _asked(root: Path, folder: Path, wishes: Sequence[tuple[str, ...]], *, index: bool) -> list[Listing | None]:
    """What git lists, for several lists of options side by side; empty where it can't be asked at all. Raises TimeoutError."""
    with contextlib.ExitStack() as stack:
        try:
            repository = await asyncio.to_thread(stack.enter_context, git.borrowed(root, index=index))
        except OSError:
            return []
        tracked = ("--cached",) if repository.tracked else ()
        argvs = [(*repository.argv, "ls-files", *tracked, *wish) for wish in wishes]
        work = (_listed(argv, folder, repository.env) for argv in argvs)
        found = await asyncio.gather(*work, return_exceptions=True)  # none may be left behind by another's failure
    for each in found:
        if isinstance(each, BaseException):
            raise each
    return [each for each in found if not isinstance(each, BaseException)]


async def _listed(argv: Sequence[str], folder: Path, env: Mapping[str, str]) -> Listing | None:
    data = bytearray()
    try:
        child = await Child.start(argv, cwd=folder, feed=data.extend, env=env, stderr=asyncio.subprocess.DEVNULL)
    except OSError:
        return None
    try:
        ended = asyncio.create_task(child.wait(GIT_S))
        try:
            if await at_a_pipe(ended, folder) or (code := await ended) is None:
                raise TimeoutError
        finally:
            ended.cancel()
        await child.settle(GIT_S)
    finally:
        await child.end()
    if code != 0 or not data:
        return None
    names = [os.fsdecode(name) for name in bytes(data).split(b"\0") if name and not name.endswith(b"/")]
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
