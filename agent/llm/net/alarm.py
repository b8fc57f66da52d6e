"""A deadline that moves with every token, on one timer: asyncio.timeout would make, schedule and throw away one for each."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

T = TypeVar("T")


class Alarm:
    """Bounds pieces of work, one after the other, by the loop's clock. Call `stop` when there are no more.

    The timer is set for a deadline; when it rings and the deadline has moved on meanwhile, it is set anew for the rest.
    """

    def __init__(self) -> None:
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[Any] | None = None
        self._deadline = 0.0
        self.rang = False
        """Whether it was the deadline that ended the last piece of work."""

    async def bound(self, work: Awaitable[T], deadline: float) -> T:
        """The result of the work. Raises TimeoutError where it is not there at the deadline, in seconds of the loop's clock."""
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        self._task, self._deadline, self.rang = task, deadline, False
        before = task.cancelling()
        if self._timer is None or self._timer.when() > deadline:
            self.stop()
            self._timer = loop.call_at(deadline, self._ring)
        try:
            return await work
        except asyncio.CancelledError as error:
            if self.rang and task.uncancel() <= before:
                raise TimeoutError from error
            raise
        finally:
            self._task = None

    def stop(self) -> None:
        """Nothing rings any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ring(self) -> None:
        self._timer = None
        if self._task is None:  # nothing is waited for; the next piece sets it again
            return
        loop = asyncio.get_running_loop()
        if loop.time() < self._deadline:
            self._timer = loop.call_at(self._deadline, self._ring)
        else:
            self.rang = True
            self._task.cancel()
