"""The ledger in PostgreSQL: for a server with several workers, or on several machines (`moa serve --database`).

The SQL is the same as for SQLite. A connection may wait for the network, so an event loop has the work done in one thread, in order
(`Ledger.patiently`). A connection that was lost is made anew by the next statement; a query is then asked once more, a write is left to
whoever waits patiently, for it may have been done: all writes of ours can be done twice.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from agent.errors import StateError, UsageError
from agent.extras import missing
from agent.ledger.fair_thread import FairThread
from agent.ledger.postgres_schema import STEPS
from agent.ledger.store import Locked
from agent.text.encodable import whole_value

if TYPE_CHECKING:
    import psycopg

_LOCK = 0x6D6F616C
"""The number of our advisory lock, under which caps are checked: "moal"."""
_CONNECT_S = 5
_APART_S = 1.0
_SETTINGS = "SET lock_timeout = '5s'; SET statement_timeout = '60s'; SET client_min_messages = error"
_NETWORK = {"keepalives_idle": "10", "keepalives_interval": "5", "keepalives_count": "3", "tcp_user_timeout": "15000"}
"""So a machine that is gone without a word is noticed (https://www.postgresql.org/docs/current/libpq-connect.html)."""
_LATER = {
    "40001": "another transaction was first",
    "40P01": "another transaction was first",
    "55P03": "another process keeps it locked",
    "57014": "it took too long",
    "23503": "what it belongs to has gone meanwhile",
    "53300": "it has no connection left",
    "57P01": "it is being stopped",
    "57P02": "it was stopped",
    "57P03": "it is starting",
}
"""SQLSTATEs of what may work a moment later (https://www.postgresql.org/docs/current/errcodes-appendix.html)."""


class Postgres:
    """A `Store` over one database: one connection for each thread that uses it."""

    def __init__(self, url: str) -> None:
        """Connect, and make or bring up to date the tables. Raises UsageError for an address that can't be, StateError."""
        try:
            import psycopg
        except ImportError:
            raise missing("serve", "a PostgreSQL database", "psycopg") from None
        from psycopg.conninfo import conninfo_to_dict

        try:
            given = conninfo_to_dict(url)
        except psycopg.Error as error:
            raise UsageError(
                f"the address of the database can't be read: {_first_line(error)}",
                remedy="write postgresql://USER@HOST:PORT/DATABASE; a password may stand in PGPASSWORD or ~/.pgpass",
                kind="database",
            ) from None
        self._driver = psycopg
        self._given: dict[str, Any] = {"application_name": "moa", "connect_timeout": _CONNECT_S, **_NETWORK, **given}
        self.name = f"PostgreSQL database {given.get('dbname') or ''} at {given.get('host') or 'the local socket'}"
        self._of = threading.local()
        self._every: list[psycopg.Connection[tuple[Any, ...]]] = []
        self._thread: FairThread | None = None
        self._not_before, self._why = 0.0, ""
        self._prepare()

    @property
    def thread(self) -> Executor | None:
        """The one thread for event loops, made at first use: before that a process may still fork."""
        if self._thread is None:
            self._thread = FairThread("ledger")
        return self._thread

    def rows(self, sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """As in `Store`."""
        try:
            return self._execute(sql, values).fetchall()
        except Locked:
            if self._inside or self._connected:
                raise
        return self._execute(sql, values).fetchall()  # the connection had been lost: once more, on a new one

    def each(self, sql: str, values: Sequence[object] = ()) -> Iterator[tuple[Any, ...]]:
        """As in `Store`."""
        with self._explained():
            connection = self._connection()
            with connection.transaction(), connection.cursor(name="each") as cursor:
                cursor.itersize = 1000
                yield from cursor.execute(_written(sql), values)

    def write(self, sql: str, values: Sequence[object] = ()) -> int:
        """As in `Store`."""
        return self._execute(sql, values).rowcount

    @contextmanager
    def transaction(self, *, alone: bool = True) -> Iterator[None]:
        """As in `Store`."""
        with self._explained():
            lock = f"; SELECT pg_advisory_xact_lock({_LOCK})" if alone else ""
            self._connection().execute(f"BEGIN{lock}")
        self._of.inside = True
        try:
            yield
            self._execute("COMMIT")
        except BaseException:
            self._undo()
            raise
        finally:
            self._of.inside = False

    @contextmanager
    def waiting(self, seconds: float) -> Iterator[None]:
        """Nothing changes: nobody holds a lock here for longer than a transaction takes."""
        del seconds
        yield

    def close(self) -> None:
        """As in `Store`."""
        if self._thread is not None:
            self._thread.shutdown()
        for connection in self._every:
            with suppress(self._driver.Error):
                connection.close()
        self._every.clear()

    # A connection

    @property
    def _inside(self) -> bool:
        return getattr(self._of, "inside", False)

    @property
    def _connected(self) -> bool:
        return getattr(self._of, "connection", None) is not None

    def _connection(self) -> psycopg.Connection[tuple[Any, ...]]:
        found: psycopg.Connection[tuple[Any, ...]] | None = getattr(self._of, "connection", None)
        if found is None:
            found = self._connect()
            try:
                found.adapters.register_loader("numeric", _number(self._driver))
                found.execute(_SETTINGS)
            except BaseException:
                found.close()
                raise
            self._of.connection = found
            self._every.append(found)
        return found

    def _connect(self) -> psycopg.Connection[tuple[Any, ...]]:
        """A machine that is gone without a word is asked once in a while: the others who wait in the same thread are told at once."""
        began = time.monotonic()
        if began < self._not_before:
            raise self._driver.OperationalError(self._why)
        try:
            return self._driver.connect(autocommit=True, **self._given)
        except self._driver.Error as error:
            now = time.monotonic()
            self._not_before, self._why = now + min(now - began, _APART_S), _first_line(error)
            raise

    def _execute(self, sql: str, values: Sequence[object] = ()) -> psycopg.Cursor[tuple[Any, ...]]:
        with self._explained():
            connection = self._connection()
            try:
                return connection.execute(_written(sql), values)
            except (
                UnicodeEncodeError,
                self._driver.DataError,
            ) as error:  # half a character, or a NUL, which can't be stored
                if getattr(error, "sqlstate", None):
                    raise
                return connection.execute(_written(sql), [_storable(value) for value in values])

    def _undo(self) -> None:
        connection = getattr(self._of, "connection", None)
        if connection is not None:
            with suppress(self._driver.Error):
                connection.execute("ROLLBACK")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn the driver's errors into StateError: what is wrong, and what to do. Locked for what may work a moment later."""
        try:
            yield
        except self._driver.Error as error:
            connection = getattr(self._of, "connection", None)
            lost = connection is None or connection.closed
            if lost:
                self._of.connection = None
                self._every[:] = [each for each in self._every if each is not connection]
            state = error.sqlstate or ""
            if state in _LATER or (lost and state[:2] in ("", "08", "57")):
                words = _LATER.get(state) or _first_line(error)
                raise Locked(f"can't use the {self.name}: {words}", remedy="see whether it runs") from error
            if lost:  # a user, a password or a database that it does not know
                raise StateError(f"can't open the {self.name}: {_first_line(error)}", remedy=_ADDRESS) from error
            if isinstance(error, (self._driver.errors.InsufficientPrivilege, self._driver.errors.DiskFull)):
                remedy = "let this user make tables and write to them, or free some space"
                raise StateError(f"can't use the {self.name}: {_first_line(error)}", remedy=remedy) from error
            raise  # a mistake in our own code

    # Its tables

    def _prepare(self) -> None:
        found = self.rows("SELECT to_regclass('moa_version'), to_regclass('calls')")[0]
        if found[0] is None and found[1] is not None:
            raise StateError(
                f"can't use the {self.name}: it has tables of another program", remedy="make a database for moa alone"
            )
        version = self._version() if found[0] is not None else 0
        if version > len(STEPS):
            raise StateError(
                f"the {self.name} was made by a newer version of this program (schema {version}; this one knows {len(STEPS)})",
                remedy="update this program",
            )
        if version == len(STEPS):
            return
        with self.transaction():
            self.write("CREATE TABLE IF NOT EXISTS moa_version (version BIGINT NOT NULL)")
            # Another process may have done it while this one waited.
            for number in range(self._version(), len(STEPS)):
                for statement in STEPS[number]:
                    self.write(statement)
                self.write("DELETE FROM moa_version")
                self.write("INSERT INTO moa_version VALUES (?)", (number + 1,))

    def _version(self) -> int:
        found = self.rows("SELECT version FROM moa_version")
        return int(found[0][0]) if found else 0


_ADDRESS = (
    "check the address (--database), its user and password (PGPASSWORD, ~/.pgpass), and whether the database is there"
)


@lru_cache(maxsize=1024)
def _written(sql: str) -> str:
    """With the driver's marks for values."""
    return sql.replace("%", "%%").replace("?", "%s") if "?" in sql else sql


def _storable(value: object) -> object:
    value = whole_value(value)
    return value.replace("\0", "\N{REPLACEMENT CHARACTER}") if isinstance(value, str) else value


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]


def _number(driver: Any) -> Any:
    """Sums come as numbers of any size: whole ones stay whole."""

    class Number(driver.adapt.Loader):  # type: ignore[misc]
        def load(self, data: Any) -> int | float:
            text = bytes(data).decode()
            return int(text) if text.lstrip("-").isdecimal() else float(text)

    return Number
