"""Waiting for what tells nobody: a condition is asked for again and again, and what never comes is a failure that says so.

Where something tells (an event, a future, a text on the screen), wait for that.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import NoReturn

LONG_S = 30.0
"""For a machine that is busy. What holds comes at once."""


async def until(condition: Callable[[], object], told: Callable[[], str] = str, seconds: float = LONG_S) -> None:
    """Until something holds, beside other tasks. Raises AssertionError with what `told` says."""
    patience = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < patience, f"it never came: {told()}"
        await asyncio.sleep(0.01)


def wait_until(condition: Callable[[], object], told: Callable[[], str] = str, seconds: float = LONG_S) -> None:
    """As `until`, without a loop."""
    patience = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < patience, f"it never came: {told()}"
        time.sleep(0.01)


async def forever() -> NoReturn:
    """What never comes: the test ends it."""
    await asyncio.Event().wait()
    raise AssertionError("unreachable")
