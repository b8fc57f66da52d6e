"""Ctrl+C, SIGTERM, SIGHUP and SIGQUIT for a run without a face."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from agent.process.deadline import Deadline, heard

if TYPE_CHECKING:
    from agent.loop.turn import Turn

PATIENCE_S = 3.0
"""Seconds after which a run that was told to stop, and is told so again, ends at once. Stopping in order takes one."""
INTERRUPTED = 130


class Interrupts:
    """The first one stops the turn in order, or the task where no turn runs. More of them at once change nothing: Ctrl+C is often
    pressed twice, and a second must not cut short what the first has begun to close. Where the end in order takes too long
    (`agent.process.deadline`), or somebody insists, the process ends all the same; `last_words` is called then, from another thread.

    `turn` is the turn that runs; `stopped` says whether there was an interrupt. The handlers are the process's own and not the event
    loop's: they are called while the loop is busy, too.
    """

    def __init__(self, task: asyncio.Task[Any], last_words: Callable[[], None] = lambda: None) -> None:
        self.turn: Turn | None = None
        self.deadline = Deadline(INTERRUPTED, last_words)
        self._task = task
        self._loop = task.get_loop()
        self._first: float | None = None
        self._over = False

    @property
    def stopped(self) -> bool:
        """Whether the user has interrupted."""
        return self._first is not None

    def listen(self, *, held: Callable[[], bool] = lambda: False) -> None:
        """From now on. `held` says whether there was a signal already, before anybody listened."""
        for number in heard():
            signal.signal(number, lambda _number, _frame: self.interrupt())
        if held():
            self.interrupt()

    def over(self) -> None:
        """The run has come to its end: from now on a signal changes nothing but how long closing may take."""
        self._over = True

    def interrupt(self) -> None:
        """What a signal does."""
        now = time.monotonic()
        if self._first is None:
            self._first = now
            self.deadline.start()
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._stop)
        elif now - self._first > PATIENCE_S:
            self.deadline.hurry()

    def _stop(self) -> None:
        if self._over:
            return
        if self.turn is not None:
            self.turn.cancel()
        else:
            self._task.cancel()
