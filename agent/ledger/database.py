"""The ledger's file: one SQLite database in write-ahead mode, opened in well under 5 ms, whose every failure is a StateError.

Write-ahead mode with `synchronous=NORMAL` keeps every committed row when the program is killed; only a power cut can lose the last
ones (https://sqlite.org/pragma.html#pragma_synchronous).
"""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

from agent.errors import StateError
from agent.files import in_use
from agent.files.own_files import make_folder
from agent.ledger.schema import MIGRATIONS
from agent.ledger.store import Locked
from agent.text.encodable import whole_value

# "moal": tells our files from other programs' SQLite files (https://sqlite.org/pragma.html#pragma_application_id).
APPLICATION_ID = 0x6D6F616C

BUSY_S = 5.0
"""How long a statement waits for another process's transaction, seconds. Ours take less than a millisecond each."""


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn SQLite's errors about this file into StateError: what is wrong, with which file, and what to do."""
    try:
        yield
    except sqlite3.Error as error:
        _explain(path, error)


def _explain(path: Path, error: sqlite3.Error) -> NoReturn:
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:  # a mistake in our own code, not in the file
        raise error
    what, remedy = _EXPLANATIONS.get(code & 0xFF, (str(error), _ELSEWHERE))
    kind = Locked if code & 0xFF == sqlite3.SQLITE_BUSY else StateError
    raise kind(f"can't use the ledger {path}: {what}", remedy=remedy) from error


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
        "another process keeps it locked",
        "end the program that holds it, then try again",
    ),
}


_MAKING = threading.Lock()


def _make_private(path: Path) -> None:
    """The file as its owner's alone, one that exists already, too; SQLite gives what it keeps beside it the same mode.

    A file that is there is never opened here: when a process closes any descriptor of a file, all locks that it holds on the file
    are gone (fcntl(2)), those of its open databases, too, and the next other program to leave would take the log from under them
    (https://sqlite.org/howtocorrupt.html, 2.2).
    """
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        mode = path.stat().st_mode
        if stat.S_ISREG(mode) and mode & 0o077:
            path.chmod(0o600)


class Database:
    """A `Store` in a file: one open connection. Statements commit by themselves outside `transaction`."""

    thread: Executor | None = None

    def __init__(self, path: Path, migrations: Sequence[Sequence[str]] = MIGRATIONS) -> None:
        """Open the file, and make or bring up to date its tables. Raises StateError."""
        self.path = path
        try:
            make_folder(path.parent)
        except OSError as error:
            raise StateError(
                f"can't make the folder of the ledger {path}: {error.strerror or error}", remedy=_ELSEWHERE
            ) from error
        with explained(path), _MAKING:  # nobody opens it between its making and the end of that
            with suppress(OSError):  # SQLite says what is wrong with it
                _make_private(path)
            self._connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)
        self._closed = False
        self._waits_s, self._allowed_s = BUSY_S, BUSY_S
        in_use.began(path)
        try:
            self._prepare(migrations)
        except BaseException:
            self.close()
            raise

    def waiting(self, seconds: float) -> AbstractContextManager[None]:
        """What is done within waits so long for another program's lock, then raises Locked."""
        return _Waiting(self, seconds)

    def allow(self, seconds: float) -> float:
        """From now on statements wait so long for another program's lock. Returns how long it was before."""
        before, self._allowed_s = self._allowed_s, seconds
        return before

    def _execute(self, sql: str, values: Sequence[object]) -> sqlite3.Cursor:
        """Run a statement. How long it may wait is told to SQLite where that has changed: nearly all that runs waits alike."""
        if self._waits_s != self._allowed_s:
            self._connection.execute(f"PRAGMA busy_timeout = {self._allowed_s * 1000:.0f}")
            self._waits_s = self._allowed_s
        return self._connection.execute(sql, values)

    def rows(self, sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """All rows of a query. Raises StateError."""
        try:
            return self._execute(sql, values).fetchall()
        except sqlite3.Error as error:
            _explain(self.path, error)

    def each(self, sql: str, values: Sequence[object] = ()) -> Iterator[tuple[Any, ...]]:
        """The rows of a query one by one, however many there are. Raises StateError."""
        with explained(self.path):
            yield from self._execute(sql, values)

    def write(self, sql: str, values: Sequence[object] = ()) -> int:
        """Run a statement and return how many rows it changed. Raises StateError."""
        try:
            return self._execute(sql, values).rowcount
        except sqlite3.Error as error:
            _explain(self.path, error)
        except UnicodeEncodeError:  # half a character, which SQLite can't store
            return self.write(sql, [whole_value(value) for value in values])

    def transaction(self, *, alone: bool = True) -> AbstractContextManager[None]:
        """All or nothing; it is the only writer among all processes from the first statement on, always. Raises StateError."""
        del alone
        return _Transaction(self, "BEGIN IMMEDIATE")

    def undo(self) -> None:
        """Take back what a transaction has done; on a full disk SQLite has already rolled back."""
        if self._connection.in_transaction:
            self._connection.rollback()

    def close(self) -> None:
        """Close the file; the last process to do so folds the write-ahead log into it."""
        self._connection.close()
        if not self._closed:
            self._closed = True
            in_use.ended(self.path)

    def _prepare(self, migrations: Sequence[Sequence[str]]) -> None:
        # One view of the file, which another process may be making at this moment.
        with _Transaction(self, "BEGIN DEFERRED"):
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


# Classes and no generators: a call has half a dozen of these.


class _Waiting:
    """See `Database.waiting`."""

    __slots__ = ("_before", "_database", "_seconds")

    def __init__(self, database: Database, seconds: float) -> None:
        self._database = database
        self._seconds = self._before = seconds

    def __enter__(self) -> None:
        self._before = self._database.allow(self._seconds)

    def __exit__(self, *_raised: object) -> None:
        self._database.allow(self._before)


class _Transaction:
    """See `Database.transaction`. `begin` is the statement that begins it."""

    __slots__ = ("_begin", "_database")

    def __init__(self, database: Database, begin: str) -> None:
        self._database = database
        self._begin = begin

    def __enter__(self) -> None:
        self._database.write(self._begin)

    def __exit__(self, kind: type[BaseException] | None, *_raised: object) -> None:
        try:
            if kind is None:
                self._database.write("COMMIT")
        except BaseException:
            self._database.undo()
            raise
        if kind is not None:
            self._database.undo()
