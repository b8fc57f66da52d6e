"""Looking at a repository without believing it: git runs on an empty repository of our own that borrows the other's work tree and index.

A repository's settings name programs that git runs for nearly everything (a file monitor, hooks, filters, a helper that fetches what is
missing), and which of them run when changes with each version. So none of its settings are read: the folder that git takes for its own is
one that we have just made, and what is borrowed is data alone. Nothing can be fetched, whatever the user's own settings say.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from agent.process import children

# What the user's own settings could still bring: a file monitor, hooks, a fetch of what is missing, another program to write a trace to.
OPTIONS = ("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "safe.bareRepository=explicit")
SETTINGS = {
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_ALLOW_PROTOCOL": "none",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_TRACE2": "0",
    "GIT_TRACE2_EVENT": "0",
    "GIT_TRACE2_PERF": "0",
}
LONGEST_POINTER = 4_096


class Borrowed(NamedTuple):
    """How to start git on it: `[*argv, "ls-files", …]` with this environment, in any folder of the work tree. `tracked`: there is an index to ask."""

    argv: tuple[str, ...]
    env: dict[str, str]
    tracked: bool


def root_of(folder: Path) -> Path | None:
    """The work tree that a folder is in; None where it is in none."""
    return next((place for place in (folder, *folder.parents) if os.path.lexists(place / ".git")), None)


@contextmanager
def borrowed(root: Path, *, index: bool = True, history: bool = False) -> Iterator[Borrowed]:
    """A work tree as git sees it without its repository's settings. Blocking, but short. Raises OSError.

    `index`: what is tracked counts as well, where the index can be read. `history`: so do the commits and branches; nothing is written there.
    """
    with tempfile.TemporaryDirectory(prefix="moa-git-") as name:
        own = Path(name)
        theirs = repository(root)
        (own / "HEAD").write_text("ref: refs/heads/none\n")
        (own / "info").mkdir()
        if history and theirs:
            _borrow_history(own, theirs)
        for folder in ("objects", "refs"):
            if not os.path.lexists(own / folder):
                (own / folder).mkdir()
        env = children.environment(project=root) | SETTINGS | {"GIT_DIR": name, "GIT_WORK_TREE": str(root)}
        if found := theirs and _regular(theirs / "info" / "exclude"):
            (own / "info" / "exclude").write_bytes(_bytes(found, 1_000_000))
        tracked = _regular(theirs / "index") if theirs and index else None
        if tracked:
            env["GIT_INDEX_FILE"] = str(tracked)
        yield Borrowed(("git", *OPTIONS), env, tracked is not None)


def repository(root: Path) -> Path | None:
    """The folder that `.git` is or points to; None where it is neither."""
    place = root / ".git"
    if place.is_dir():
        return place
    if not (found := _regular(place)):
        return None
    pointer = _bytes(found, LONGEST_POINTER).decode("utf-8", "surrogateescape")
    named = pointer.removeprefix("gitdir:").strip()
    if not pointer.startswith("gitdir:") or not named or "\0" in named:
        return None
    return root / named if (root / named).is_dir() else None


def common(repository: Path) -> Path:
    """The folder with what a linked work tree shares with the others: settings, hooks, commits. It is the repository itself elsewhere."""
    if not (pointer := _regular(repository / "commondir")):
        return repository
    named = _bytes(pointer, LONGEST_POINTER).decode("utf-8", "surrogateescape").strip()
    return repository if "\0" in named else Path(os.path.normpath(repository / named))


def _borrow_history(own: Path, theirs: Path) -> None:
    """Let git find the commits, and the names by which they are called. A linked work tree has its own HEAD, and shares the rest."""
    shared = common(theirs)
    if head := _regular(theirs / "HEAD"):
        (own / "HEAD").write_bytes(_bytes(head, LONGEST_POINTER))
    for name in ("objects", "refs", "packed-refs", "shallow"):
        if (shared / name).exists():
            (own / name).symlink_to((shared / name).resolve())


def _regular(path: Path) -> Path | None:
    return path if path.is_file() else None


def _bytes(path: Path, limit: int) -> bytes:
    # Not blocking: it may have become a pipe since.
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        return file.read(limit)
