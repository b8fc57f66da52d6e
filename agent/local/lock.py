"""A lock between processes: one fetches, the others wait."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path


@contextlib.asynccontextmanager
async def only_one(lock: Path, waiting: Callable[[], None]) -> AsyncIterator[None]:
    """Hold a lock between processes, which the system gives back whatever happens to us; wait for it, calling `waiting`."""
    with lock.open("ab") as file:
        while not try_lock(file.fileno()):
            waiting()
            await asyncio.sleep(0.1)
        yield


def try_lock(descriptor: int) -> bool:
    """Take an exclusive lock on an open file, if it is free; it is released when the file is closed."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN, errno.EDEADLK):
            return False
        raise
    return True
