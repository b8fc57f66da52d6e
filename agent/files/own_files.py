"""Files and folders of this program's own: read only where they are regular files, written whole or not at all, for their owner alone.

A pipe of that name would be waited for without end; a link of a draft's name would lead the write elsewhere; and with a umask of 000
everybody could write what we read later.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path


def read_bytes(path: Path, limit: int = -1) -> bytes:
    """The content of a regular file, at most `limit` bytes of it. Raises OSError, also for what is not a regular file. Never waits."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    with os.fdopen(descriptor, "rb") as file:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            folder = stat.S_ISDIR(mode)
            raise OSError(
                errno.EISDIR if folder else errno.EINVAL,
                "it is a folder" if folder else "it is not a regular file",
                str(path),
            )
        return file.read(limit)


def open_to_append(path: Path) -> int:
    """A regular file, open for reading and for writing at its end; made for its owner alone, whatever the umask, where there is none.

    Raises OSError, where it is a link, too: who could put one there would have us write, or cut off, what only we can write.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
    for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC"):
        flags |= getattr(os, name, 0)
    try:
        descriptor = os.open(path, flags, 0o600)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise OSError(errno.ELOOP, "it is a link, and none is followed to write", str(path)) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))
    return descriptor


def make_folder(folder: Path) -> None:
    """Make one of this program's own folders, and those that it lies in, for their owner alone, whatever the umask. Raises OSError."""
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    for place in reversed(missing):
        place.mkdir(mode=0o700, exist_ok=True)


def write_atomically(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Replace a file's content, or make it: at every moment, and after a full disk, either the old content or the new is there.

    An existing file keeps its permissions, and its owner where the system lets us; a new one gets `mode`, less the umask. The draft has
    a name that nobody can know beforehand, and no link of that name is followed. Raises OSError.
    """
    try:
        before = path.stat()
    except FileNotFoundError:
        before = None
    replace_by_draft(path, data, before, mode=mode)


def replace_by_draft(
    path: Path, data: bytes, before: os.stat_result | None, *, mode: int, folder: int | None = None
) -> None:
    """Write a draft beside a file and put it in the file's place. `before` is what the file is now (None: there is none, and the draft gets
    `mode`). `folder` is the file's folder, open: then nothing of `path` but its name counts. Raises OSError."""
    draft = f".{path.name[:40]}.{os.urandom(6).hex()}.tmp"
    name, target = (path.parent / draft, path) if folder is None else (Path(draft), Path(path.name))
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    descriptor = os.open(name, flags, mode if before is None else 0o600, dir_fd=folder)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            if before is not None:
                if (before.st_uid, before.st_gid) != (os.geteuid(), os.getegid()):
                    with contextlib.suppress(OSError):
                        os.fchown(file.fileno(), before.st_uid, before.st_gid)
                os.fchmod(file.fileno(), stat.S_IMODE(before.st_mode))
        os.replace(name, target, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name, dir_fd=folder)
        raise
