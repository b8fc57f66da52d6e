"""The end that comes in any case: a program that was told to end, and does not manage to end in order, is ended from a thread."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable

ENDING = tuple(number for number in signal.Signals if number.name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"))
"""The signals that ask a program to end. All four are the same request: somebody waits, and what runs is to be closed."""
ORDER_S = 5.0
"""Seconds that an end in order may take. It takes about one: children get 0.8, a socket is closed at once."""

LAST_S = 2.0
"""Seconds for killing the children, and as many for the last words. Either can hang: on a process that can't be looked at, a full pipe."""


def heard() -> tuple[signal.Signals, ...]:
    """Those of `ENDING` that are to be heard: all, but a hang-up that is ignored already (nohup) stays ignored."""
    hangup = getattr(signal, "SIGHUP", None)
    return tuple(number for number in ENDING if number is not hangup or signal.getsignal(number) is not signal.SIG_IGN)


class Deadline:
    """Started once, it ends the process after `seconds`: its children are killed, `last_words` is called, and the exit code is `code`.

    Both run in a thread of their own, whatever the others wait for. `hurry` does it at once.
    """

    def __init__(self, code: int, last_words: Callable[[], None] = lambda: None, *, seconds: float = ORDER_S) -> None:
        self.code = code
        self._last_words = last_words
        self._seconds = seconds
        self._now = threading.Event()
        self._started = False

    def start(self) -> None:
        """From now on. Safe in a signal's handler, and to be called again."""
        if not self._started:
            self._started = True
            threading.Thread(target=self._wait, name="deadline", daemon=True).start()

    def hurry(self) -> None:
        """Not even that long."""
        self.start()
        self._now.set()

    def _wait(self) -> None:
        self._now.wait(self._seconds)
        try:
            _at_most(LAST_S, kill_children)
            _at_most(LAST_S, self._last_words)
        finally:
            os._exit(self.code)


def _at_most(seconds: float, work: Callable[[], None]) -> None:
    """Do it in a thread that is left behind where it takes longer; what it raises changes nothing."""

    def try_it() -> None:
        with contextlib.suppress(Exception):
            work()

    thread = threading.Thread(target=try_it, daemon=True)
    thread.start()
    thread.join(seconds)


def listen(end: Callable[[], None], deadline: Deadline) -> None:
    """From now on a signal that asks the program to end has `end` called by the running event loop, and starts the deadline.

    The handlers are the process's own and not the loop's: the deadline is started while the loop is busy or stuck, too. In another
    thread than the main one nothing can listen, and nothing does.
    """
    import asyncio  # here: this module is loaded at every start, before anything else

    loop = asyncio.get_running_loop()

    def hear(_number: int, _frame: object) -> None:
        deadline.start()
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(end)

    with contextlib.suppress(ValueError):
        for number in heard():
            signal.signal(number, hear)


def kill_children() -> None:
    """SIGKILL for every command that this process still runs, and for what these have started."""
    process = sys.modules.get("agent.process.process")  # not loaded: nothing was ever started
    if process is not None:
        process.kill_all()
