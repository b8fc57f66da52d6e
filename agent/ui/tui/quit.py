"""Leaving: never by one press."""

from __future__ import annotations

import time
from collections.abc import Callable

WINDOW_S = 2.0


class SecondPress:
    """True for a press that follows another one within `window_s` seconds."""

    def __init__(self, window_s: float = WINDOW_S, *, now: Callable[[], float] = time.monotonic) -> None:
        self._window_s = window_s
        self._now = now
        self._last: float | None = None

    def press(self) -> bool:
        """One press of the key."""
        now = self._now()
        second = self._last is not None and now - self._last <= self._window_s
        self._last = None if second else now
        return second

    def forget(self) -> None:
        """Something else was done in between."""
        self._last = None


def farewell(session: str, *, began: bool) -> str:
    """What to print on the way out: the exact command that comes back, where there is something to come back to."""
    return f"resume with: moa --resume {session}" if began else ""
