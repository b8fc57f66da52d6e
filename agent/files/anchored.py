"""Opening and replacing files without following a link: a path that was looked up leads where it led then, or nowhere.

Somebody who can rename a folder (a command of the model in the background) could put a link in its place between the moment in which a
path is looked up, checked and allowed, and the one in which it is opened. So each folder on the way is opened by itself, from the root.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from agent.files.own_files import replace_by_draft

# Only passing through needs no right to list: a home folder may be closed to that.
_FOLDER = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@contextlib.contextmanager
def folder_of(path: Path, *, make: bool = False) -> Iterator[int]:
    """The folder of a path (absolute, its links followed already), open; with `make` its folders are made.

    Raises OSError: NotADirectoryError, too, where a folder on the way is a link.
    """
    folder = os.open(path.anchor, _FOLDER)
    try:
        for name in path.parts[1:-1]:
            try:
                inner = os.open(name, _FOLDER, dir_fd=folder)
            except FileNotFoundError:
                if not make:
                    raise
                with contextlib.suppress(FileExistsError):
                    os.mkdir(name, dir_fd=folder)
                inner = os.open(name, _FOLDER, dir_fd=folder)
            os.close(folder)
            folder = inner
        yield folder
    finally:
        os.close(folder)


def open_for_reading(path: Path) -> int:
    """A file, open for reading and never waited for. Raises OSError, where it is a link or lies behind one, too."""
    with folder_of(path) as folder:
        return os.open(path.name or ".", os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)


def replace(path: Path, data: bytes) -> None:
    """Replace a file's content, or make it, and its folders: at every moment the old content or the new is there, all of it.

    An existing file keeps its permissions, and its owner where the system lets us. Raises OSError, where it is a link or lies behind
    one, too.
    """
    with folder_of(path, make=True) as folder:
        try:
            before = os.stat(path.name, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            before = None
        if before is not None and stat.S_ISLNK(before.st_mode):
            raise OSError(errno.ELOOP, "it is a link by now")
        replace_by_draft(path, data, before, mode=0o666, folder=folder)


def remove(path: Path) -> None:
    """Remove a file; nothing where there is none. Raises OSError, where it is a folder or lies behind a link, too."""
    with contextlib.suppress(FileNotFoundError), folder_of(path) as folder:
        os.unlink(path.name, dir_fd=folder)


def remove_folder(path: Path) -> None:
    """Remove an empty folder. Raises OSError, where it lies behind a link, too."""
    with folder_of(path) as folder:
        os.rmdir(path.name, dir_fd=folder)
