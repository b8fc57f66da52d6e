"""An end to what can't be interrupted otherwise: Python's regular expressions can take for ever, in one call that no task can cancel."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class OutOfPatience(Exception):
    """What was done took longer than it may."""


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """What is done inside raises OutOfPatience after so many seconds: the matching of an expression looks for signals as it goes.

    Only on the main thread, and where the system has timers; elsewhere nothing bounds it.
    """
    alarm = getattr(signal, "SIGALRM", None)
    if alarm is None or threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise OutOfPatience(f"it took longer than {seconds:g} s")

    before, timer = signal.signal(alarm, stop), (0.0, 0.0)
    try:
        timer = signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.signal(alarm, before)
        signal.setitimer(signal.ITIMER_REAL, *timer)  # whose it was, it goes on for
