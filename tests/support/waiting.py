"""Waiting for what tells nobody: a condition is asked for again and again, and what never comes is a failure that says so.

Where something tells (an event, a future, a text on the screen), wait for that.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn, TypeVar

T = TypeVar("T")

LONG_S = 30.0
"""For a machine that is busy. What holds comes at once."""


async def until(
    condition: Callable[[], Any | Awaitable[Any]], told: Callable[[], str] = str, seconds: float = LONG_S
) -> None:
    """Until something holds, beside other tasks. Raises AssertionError with what `told` says."""
    patience = time.monotonic() + seconds
    while not await _found(condition()):
        assert time.monotonic() < patience, f"it never came: {told()}"
        await asyncio.sleep(0.01)


async def _found(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


def wait_until(condition: Callable[[], T], told: Callable[[], str] = str, seconds: float = LONG_S) -> T:
    """As `until`, without a loop. Returns what came."""
    patience = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < patience, f"it never came: {told()}"
        time.sleep(0.01)
    return found


async def soon(work: Awaitable[T]) -> T:
    """What comes long before any clock of the program's would ring."""
    return await asyncio.wait_for(work, LONG_S)


async def forever() -> NoReturn:
    """What never comes: the test ends it."""
    await asyncio.Event().wait()
    raise AssertionError("unreachable")
