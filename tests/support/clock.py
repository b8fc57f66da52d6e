"""An event loop whose clock jumps: where nothing else is to be done, the next timer is due at once.

A test of what waits for what then takes no time, is exact to the millisecond, and comes out the same on a machine that is busy. For work
without threads and sockets: the clock would run ahead of them.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _Selector(selectors.SelectSelector):
    """Never sleeps: what it is told to wait for goes on the clock."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0 if timeout is not None else None)
        if not ready and timeout is not None and timeout > 0:
            self.now += timeout
        return ready


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._jumping = _Selector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now


def run(main: Coroutine[Any, Any, T]) -> T:
    """As `asyncio.run`, on such a clock. `now()` tells its time."""
    with asyncio.Runner(loop_factory=_Loop) as runner:
        return runner.run(main)


async def sleep(seconds: float) -> None:
    """So much later on such a clock."""
    assert isinstance(asyncio.get_running_loop(), _Loop), "here that would be a wait by the clock of the wall"
    await asyncio.sleep(seconds)


def now() -> float:
    """Seconds since the loop was made."""
    return asyncio.get_running_loop().time()
