"""The ledger's file: one SQLite database in write-ahead mode, opened in well under 5 ms, whose every failure is a StateError.

Write-ahead mode with `synchronous=NORMAL` keeps every committed row when the program is killed; only a power cut can lose the last
ones (https://sqlite.org/pragma.html#pragma_synchronous).
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from agent.errors import StateError
from agent.llm.text import whole_value

# "moal": tells our files from other programs' SQLite files (https://sqlite.org/pragma.html#pragma_application_id).
APPLICATION_ID = 0x6D6F616C

BUSY_S = 5.0
"""How long a statement waits for another process's transaction, seconds. Ours take less than a millisecond each."""

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        # Times are Unix seconds, money is nano-dollars, NULL is unknown. `counts_*` is what the call takes from a cap: the figure that is
        # known, else the bound that was reserved. `sent` is NULL until the request goes out.
        """CREATE TABLE calls (
            id TEXT PRIMARY KEY, purpose TEXT NOT NULL, slot TEXT, share TEXT,
            session TEXT NOT NULL, run TEXT NOT NULL, turn TEXT NOT NULL, iteration INTEGER NOT NULL, day TEXT NOT NULL,
            endpoint TEXT NOT NULL, model_requested TEXT NOT NULL, model_served TEXT, provider TEXT, generation_id TEXT,
            prompt_tokens INTEGER, cached_tokens INTEGER, cache_write_tokens INTEGER, completion_tokens INTEGER,
            reasoning_tokens INTEGER, reserved_tokens INTEGER NOT NULL, reserved_nano INTEGER,
            cost_nano INTEGER, cost_source TEXT NOT NULL, ttft_s REAL, duration_s REAL,
            outcome TEXT NOT NULL, retries INTEGER NOT NULL, error_kind TEXT, error TEXT,
            started REAL NOT NULL, sent REAL, ended REAL, owner TEXT NOT NULL,
            counts_nano INTEGER, counts_tokens INTEGER NOT NULL)""",
        # Each scope of a cap is summed from its index alone.
        "CREATE INDEX calls_session ON calls (session, counts_nano, counts_tokens)",
        "CREATE INDEX calls_run ON calls (run, counts_nano, counts_tokens)",
        "CREATE INDEX calls_turn ON calls (turn, share, counts_nano, counts_tokens)",
        "CREATE INDEX calls_day ON calls (day, counts_nano, counts_tokens)",
        # Small: open reservations and calls whose cost was never learned, which start-up looks for.
        "CREATE INDEX calls_unknown ON calls (outcome, started) WHERE cost_nano IS NULL",
    ),
)
"""What brings a file from one schema version (its `user_version`) to the next. Steps are only ever added."""


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn SQLite's errors about this file into StateError: what is wrong, with which file, and what to do."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", None)
        if code is None:  # a mistake in our own code, not in the file
            raise
        what, remedy = _EXPLANATIONS.get(code & 0xFF, (str(error), _ELSEWHERE))
        raise StateError(f"can't use the ledger {path}: {what}", remedy=remedy) from error


_ELSEWHERE = "check the folder, or set MOA_STATE_DIR to another one"
_DAMAGED = "move the file away (it is the record of calls and costs); a new one is begun at the next start"
_EXPLANATIONS = {
    sqlite3.SQLITE_NOTADB: ("it is not a database", _DAMAGED),
    sqlite3.SQLITE_CORRUPT: ("it is damaged", _DAMAGED),
    sqlite3.SQLITE_FULL: ("the disk is full", "free some space; what was written before is kept"),
    sqlite3.SQLITE_IOERR: (
        "the disk refuses to read or write it",
        "check the disk and its free space; what was written before is kept",
    ),
    sqlite3.SQLITE_READONLY: (
        "it can't be written",
        "make the file and its folder writable, or set MOA_STATE_DIR to another folder",
    ),
    sqlite3.SQLITE_PERM: ("access is denied", _ELSEWHERE),
    sqlite3.SQLITE_CANTOPEN: ("it can't be opened", _ELSEWHERE),
    sqlite3.SQLITE_BUSY: (
        f"another process has kept it locked for {BUSY_S:.0f} seconds",
        "end the program that holds it, then try again",
    ),
}


def _make_private(path: Path) -> None:
    """The file as its owner's alone, one that exists already, too; SQLite gives what it keeps beside it the same mode."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        if path.stat().st_mode & 0o077:
            path.chmod(0o600)
    except OSError:
        pass  # SQLite says what is wrong with it


class Database:
    """One open connection. Statements commit by themselves outside `transaction`."""

    def __init__(self, path: Path, migrations: Sequence[Sequence[str]] = MIGRATIONS) -> None:
        """Open the file, and make or bring up to date its tables. Raises StateError."""
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise StateError(
                f"can't make the folder of the ledger {path}: {error.strerror or error}", remedy=_ELSEWHERE
            ) from error
        _make_private(path)
        with explained(path):
            self._connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)
        try:
            self._prepare(migrations)
        except BaseException:
            self._connection.close()
            raise

    def rows(self, sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """All rows of a query. Raises StateError."""
        with explained(self.path):
            return self._connection.execute(sql, values).fetchall()

    def write(self, sql: str, values: Sequence[object] = ()) -> int:
        """Run a statement and return how many rows it changed. Raises StateError."""
        with explained(self.path):
            try:
                return self._connection.execute(sql, values).rowcount
            except UnicodeEncodeError:  # half a character, which SQLite can't store
                return self._connection.execute(sql, [whole_value(value) for value in values]).rowcount

    @contextmanager
    def transaction(self, kind: Literal["IMMEDIATE", "DEFERRED"] = "IMMEDIATE") -> Iterator[None]:
        """All or nothing; an immediate one is the only writer among all processes from the first statement on. Raises StateError."""
        self.write(f"BEGIN {kind}")
        try:
            yield
            self.write("COMMIT")
        except BaseException:
            if self._connection.in_transaction:  # on a full disk SQLite has already rolled back
                self._connection.rollback()
            raise

    def close(self) -> None:
        """Close the file; the last process to do so folds the write-ahead log into it."""
        self._connection.close()

    def _prepare(self, migrations: Sequence[Sequence[str]]) -> None:
        with self.transaction("DEFERRED"):  # one view of the file, which another process may be making at this moment
            version = self._version()
            self._refuse_foreign()
        if version == 0:
            self._use_write_ahead_log()
        self.write("PRAGMA synchronous = NORMAL")
        if version > len(migrations):
            raise StateError(
                f"the ledger {self.path} was written by a newer version of this program (schema {version}; this one knows {len(migrations)})",
                remedy="update this program, or set MOA_STATE_DIR to another folder",
            )
        if version < len(migrations):
            self._migrate(migrations)

    def _version(self) -> int:
        return int(self.rows("PRAGMA user_version")[0][0])

    def _refuse_foreign(self) -> None:
        application = self.rows("PRAGMA application_id")[0][0]
        if application == APPLICATION_ID:
            return
        # A file that we have just made, or whose making was interrupted, is empty.
        if application == 0 and not self.rows("SELECT 1 FROM sqlite_master LIMIT 1"):
            return
        raise StateError(f"can't use the ledger {self.path}: it is another program's database", remedy=_DAMAGED)

    def _use_write_ahead_log(self) -> None:
        # The mode is kept in the file, so only its maker sets it. SQLite does not wait for a lock here when another process is making
        # the same file at this moment: then try again, that one is done in a few milliseconds.
        for _attempt in range(100):
            try:
                self._connection.execute("PRAGMA journal_mode = WAL").fetchall()
                return
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                    break
                time.sleep(0.01)
        with explained(self.path):
            self._connection.execute("PRAGMA journal_mode = WAL").fetchall()

    def _migrate(self, migrations: Sequence[Sequence[str]]) -> None:
        with self.transaction():
            # Another process may have done it while we waited for the lock.
            for number in range(self._version(), len(migrations)):
                for statement in migrations[number]:
                    self.write(statement)
                self.write(f"PRAGMA user_version = {number + 1}")
            self.write(f"PRAGMA application_id = {APPLICATION_ID}")
