"""Ctrl+C and SIGTERM for a run without a face."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agent.loop import Turn

PATIENCE_S = 3.0
"""Seconds after which a run that was told to stop, and is told so again, ends at once. Stopping in order takes one."""

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """The first one stops the turn in order, or the task where no turn runs. More of them at once change nothing: Ctrl+C is often
    pressed twice, and a second must not cut short what the first has begun to close.

    `turn` is the turn that runs; `stopped` says whether there was an interrupt.
    """

    def __init__(self, task: asyncio.Task[Any]) -> None:
        self.turn: Turn | None = None
        self._task = task
        self._first: float | None = None

    @property
    def stopped(self) -> bool:
        """Whether the user has interrupted."""
        return self._first is not None

    def listen(self) -> None:
        """From now on, until the loop is closed or `release` is called."""
        for signum in SIGNALS:
            asyncio.get_running_loop().add_signal_handler(signum, self._stop)

    def _stop(self) -> None:
        now = asyncio.get_running_loop().time()
        if self._first is None:
            self._first = now
            if self.turn is not None:
                self.turn.cancel()
            else:
                self._task.cancel()
        elif now - self._first > PATIENCE_S:
            os._exit(130)


def release() -> None:
    """Give the signals back to the process. No error where nobody listened."""
    for signum in SIGNALS:
        asyncio.get_running_loop().remove_signal_handler(signum)
