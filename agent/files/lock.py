"""A lock between processes on an open file. The system gives it back when the file is closed, whatever happens to us."""

from __future__ import annotations

import errno

BUSY = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)


def try_lock(descriptor: int) -> bool | None:
    """Take an exclusive lock on an open file. False: another process has it. None: there are no locks here (Windows, some network file
    systems), so nobody can tell."""
    return _lock(descriptor, waits=False)


def wait_for_lock(descriptor: int) -> bool | None:
    """The same, but wait until it is free."""
    return _lock(descriptor, waits=True)


def _lock(descriptor: int, *, waits: bool) -> bool | None:
    try:
        import fcntl
    except ImportError:  # Windows: no advisory locks
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if waits else fcntl.LOCK_NB))
    except OSError as error:
        return False if error.errno in BUSY else None
    return True
