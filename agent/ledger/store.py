"""What the ledger asks of its database: SQL that SQLite and PostgreSQL both understand, with `?` for values.

`database.Database` is SQLite, `postgres.Postgres` is PostgreSQL; `Ledger` chooses by the place.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager
from typing import Any, Protocol

from agent.errors import StateError


class Locked(StateError):
    """Another program has it locked for longer than was to be waited, or it can't be reached now: it may work a moment later."""


class Store(Protocol):
    """One database. Statements commit by themselves outside `transaction`. Every method raises StateError."""

    @property
    def thread(self) -> Executor | None:
        """Where its work is done for an event loop, because it may wait for a network; None: it never waits for long."""
        ...

    def rows(self, sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """All rows of a query."""
        ...

    def each(self, sql: str, values: Sequence[object] = ()) -> Iterator[tuple[Any, ...]]:
        """The rows of a query one by one, however many there are."""
        ...

    def write(self, sql: str, values: Sequence[object] = ()) -> int:
        """Run a statement and return how many rows it changed."""
        ...

    def transaction(self, *, alone: bool = True) -> AbstractContextManager[None]:
        """All or nothing. `alone`: the only one of its kind among all processes, so that what it has read holds until it has written."""
        ...

    def waiting(self, seconds: float) -> AbstractContextManager[None]:
        """What is done within waits so long for another program's lock, then raises Locked, where that can be chosen."""
        ...

    def close(self) -> None:
        """Close it."""
        ...


def is_address(place: object) -> bool:
    """Whether a place is the address of a PostgreSQL database, and no file."""
    return isinstance(place, str) and place.startswith(("postgresql://", "postgres://"))
