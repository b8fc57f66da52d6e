"""A lock between processes: one fetches, the others wait."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from agent.files.lock import try_lock


@contextlib.asynccontextmanager
async def only_one(lock: Path, waiting: Callable[[], None]) -> AsyncIterator[None]:
    """Hold a lock between processes, which the system gives back whatever happens to us (where there are none, without); wait for it, calling `waiting`."""
    with lock.open("ab") as file:
        while try_lock(file.fileno()) is False:
            waiting()
            await asyncio.sleep(0.1)
        yield
