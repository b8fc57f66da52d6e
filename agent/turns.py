"""Who waits for a place, in turns: nobody waits longer because somebody else asks a thousand times."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Turns(Generic[T]):
    """What waits. The accounts take one place each in their turn; within an account the lowest rank goes first, and within that the first
    come."""

    def __init__(self) -> None:
        self._accounts: dict[str, dict[int, deque[T]]] = {}

    def __bool__(self) -> bool:
        return bool(self._accounts)

    def add(self, item: T, account: str = "", rank: int = 0) -> None:
        """It waits from now on."""
        self._accounts.setdefault(account, {}).setdefault(rank, deque()).append(item)

    def next(self) -> T:
        """Whose turn it is; the account is behind all others then. Raises StopIteration where nothing waits."""
        account = next(iter(self._accounts))
        ranks = self._accounts.pop(account)
        rank = min(ranks)
        item = ranks[rank].popleft()
        if not ranks[rank]:
            del ranks[rank]
        if ranks:
            self._accounts[account] = ranks
        return item

    def discard(self, item: T, account: str = "", rank: int = 0) -> None:
        """It does not wait any more, if it did: it takes no turn from its account."""
        ranks = self._accounts.get(account, {})
        if item not in ranks.get(rank, ()):
            return
        ranks[rank].remove(item)
        if not ranks[rank]:
            del ranks[rank]
        if not ranks:
            del self._accounts[account]
