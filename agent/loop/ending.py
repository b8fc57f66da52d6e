"""The end of a turn: what a failure makes of it, and waiting for what comes after."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from agent.errors import StateError, UsageError
from agent.events import ErrorInfo
from agent.llm.errors import BudgetReached, ModelError
from agent.plugin import Ending

SLICE_S = 20.0
"""A wait is checked against the clock so often: a machine that slept must not add its night to it."""

INTERRUPTED = Ending(
    "interrupted",
    ErrorInfo(kind="interrupted", message="stopped by the user", remedy="what was done so far is kept"),
)


def ending_of(problem: Exception, crashed: Callable[[BaseException], ErrorInfo]) -> Ending:
    """How a turn ends that this broke off. `crashed` tells of what is none of the known errors: a mistake of ours or of a plugin's."""
    match problem:
        case UsageError():
            status = "usage"
        case BudgetReached():
            status = "budget"
        case ModelError():
            status = "retryable" if problem.retryable else "failed"
        case StateError():
            status = "failed"
        case _:
            return Ending("failed", crashed(problem))
    return Ending(status, ErrorInfo(kind=problem.kind, message=problem.message, remedy=problem.remedy))  # type: ignore[arg-type]


class Rest:
    """Waiting until a time, unless something better to do turns up."""

    def __init__(self) -> None:
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Have a wait look again whether it is still wanted."""
        self._woken.set()

    async def until(self, when: float, over: Callable[[], object]) -> None:
        """Wait until `when` (Unix seconds), or until `over()` is true after a `wake`."""
        while not over() and (left := when - time.time()) > 0:
            self._woken.clear()
            try:
                await asyncio.wait_for(self._woken.wait(), min(left, SLICE_S))
            except TimeoutError:
                continue
