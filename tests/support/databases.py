"""Where a test's ledger is: in its file, or with `MOA_TEST_DATABASE=postgres` in a PostgreSQL database of its own.

So the same tests run on both: `MOA_TEST_DATABASE=postgres pytest tests/agent/ledger tests/moa/serve`. PostgreSQL is Debian's package, started
for the test process, by a user without rights, on a socket in a folder of its own; the tests that need it are skipped where it is not there.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import shutil
import signal
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import pytest

from agent.ledger.store import is_address
from tests.support.waiting import wait_until

USER = "moa"
MISSING = "PostgreSQL is not here (Debian's package postgresql)"


def wanted() -> bool:
    """Whether tests are to use PostgreSQL."""
    return os.environ.get("MOA_TEST_DATABASE") == "postgres"


def place(file: Path) -> Path | str:
    """The file, or the address of a database that stands for it."""
    return address(file) if wanted() else file


def address(file: Path) -> str:
    """A database of its own for a file, made at first use. Skips the test where there is no PostgreSQL."""
    name = "t" + hashlib.sha256(str(file).encode()).hexdigest()[:20]
    return server().database(name)


def programs() -> Path | None:
    """The folder of its programs."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[4]))
    if found:
        return found[-1].parent
    there = shutil.which("postgres")
    return Path(there).resolve().parent if there else None


@cache
def server() -> Cluster:
    """The one of this test process. Skips the test where there is no PostgreSQL."""
    bin_dir = programs()
    if bin_dir is None:
        pytest.skip(MISSING)
    return Cluster(bin_dir)


class Cluster:
    """A PostgreSQL server on a socket, which ends with this process."""

    def __init__(self, bin_dir: Path) -> None:
        self._bin = bin_dir
        self.folder = Path(tempfile.mkdtemp(prefix="moa-pg-"))
        self._user = "postgres" if os.geteuid() == 0 else None
        if self._user is not None:
            shutil.chown(self.folder, self._user, self._user)
        self._run("initdb", "-D", str(self.folder / "data"), "-U", USER, "-A", "trust", "-E", "UTF8", "--no-sync")
        self._made: set[str] = set()
        self._child: subprocess.Popen[bytes] | None = None
        self.start()
        atexit.register(self.remove)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.folder),
            "fsync": "off",
            "max_connections": "60",
        }
        self._child = subprocess.Popen(
            [str(self._bin / "postgres"), "-D", str(self.folder / "data"), *(f"--{key}={value}" for key, value in settings.items())],
            user=self._user, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        import psycopg

        def listens() -> bool:
            assert self._child is not None and self._child.poll() is None, "PostgreSQL did not start"
            try:
                psycopg.connect(self.url("postgres")).close()
            except psycopg.OperationalError:
                return False
            return True

        wait_until(listens, lambda: "PostgreSQL", 60)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End it: by default in order, with all its connections; SIGQUIT is a crash."""
        if self._child is not None:
            self._child.send_signal(how)
            self._child.wait(60)
            self._child = None

    def url(self, database: str) -> str:
        """The address of a database."""
        return f"postgresql://{USER}@/{database}?host={self.folder}"

    def database(self, name: str) -> str:
        """The address of a database, which is made at first use."""
        if name not in self._made:
            import psycopg

            with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
                connection.execute(f'CREATE DATABASE "{name}"')  # type: ignore[call-overload]
            self._made.add(name)
        return self.url(name)

    def remove(self) -> None:
        """End it, and leave nothing."""
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self, program: str, *words: str) -> None:
        subprocess.run(
            [str(self._bin / program), *words], user=self._user, cwd=self.folder, check=True, capture_output=True
        )


def kept(file: Path) -> bytes:
    """All that the database holds."""
    found = place(file)
    if isinstance(found, Path):
        return b"".join(path.read_bytes() for path in found.parent.glob(f"{found.name}*"))
    import psycopg

    with psycopg.connect(found) as connection:
        tables = [name for (name,) in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
        rows = [connection.execute(f'SELECT t::text FROM "{name}" t').fetchall() for name in tables]  # type: ignore[call-overload]
    return "\n".join(text for some in rows for (text,) in some).encode()


def where(text: str) -> Path | str:
    """A place that a process was given as text."""
    return text if is_address(text) else Path(text)
