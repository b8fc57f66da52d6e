"""Waiting for an endpoint: so many calls at once, every account in its turn, and of one account the main model first."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from agent.turns import Turns

if TYPE_CHECKING:
    from agent.llm.accounting import Purpose


def rank(purpose: Purpose) -> int:
    """Who goes first (a lower number): the main model, because the user waits for it; then the aggregator, because a whole panel does."""
    return {"main": 0, "serve": 0, "aggregator": 1}.get(purpose, 2)


class Gate:
    """Lets `limit` callers through at a time. Of those that wait the accounts take turns, and of an account the lowest rank goes first."""

    def __init__(self, limit: int) -> None:
        self._free = max(1, limit)
        self._waiting: Turns[asyncio.Future[None]] = Turns()

    @property
    def is_free(self) -> bool:
        """Whether who comes now is let through at once."""
        return bool(self._free) and not self._waiting

    async def acquire(self, rank: int, account: str = "") -> None:
        """Wait for a place. Cancelling the wait leaves the queue as if the caller had never come."""
        if self.is_free:
            self._free -= 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(turn, account, rank)
        try:
            await turn
        except asyncio.CancelledError:
            # The place may have been given in the same tick as the cancellation: pass it on, or it is lost for good.
            if turn.done() and not turn.cancelled():
                self.release()
            else:
                self._waiting.discard(turn, account, rank)
            raise

    def release(self) -> None:
        """Give a place back."""
        while self._waiting:
            turn = self._waiting.next()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1
