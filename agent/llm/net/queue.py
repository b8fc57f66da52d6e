"""Waiting for an endpoint: so many calls at once, the main model first."""

from __future__ import annotations

import asyncio
from heapq import heappop, heappush
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agent.llm.accounting import Purpose


def rank(purpose: Purpose) -> int:
    """Who goes first (a lower number): the main model, because the user waits for it; then the aggregator, because a whole panel does."""
    return {"main": 0, "serve": 0, "aggregator": 1}.get(purpose, 2)


class Gate:
    """Lets `limit` callers through at a time; of those that wait the lowest rank goes next, and the first come within a rank."""

    def __init__(self, limit: int) -> None:
        self._free = max(1, limit)
        self._count = 0
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []

    async def acquire(self, rank: int) -> None:
        """Wait for a place. Cancelling the wait leaves the queue as if the caller had never come."""
        if self._free and not self._waiting:
            self._free -= 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._count += 1
        heappush(self._waiting, (rank, self._count, turn))
        try:
            await turn
        except asyncio.CancelledError:
            # The place may have been given in the same tick as the cancellation: pass it on, or it is lost for good.
            if turn.done() and not turn.cancelled():
                self.release()
            raise

    def release(self) -> None:
        """Give a place back."""
        while self._waiting:
            _, _, turn = heappop(self._waiting)
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1
