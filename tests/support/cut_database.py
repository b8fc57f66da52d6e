"""PostgreSQL behind a socket that breaks when it is told to: at a statement, or for as long as a restart takes.

    cut = Cut(databases.address(file))
    cut.at(3, "after")    # the third statement from now is done, and nobody hears of it
    with cut.away(): …    # nobody gets through

A statement is whatever the client waits for an answer to: `Query` or `Sync` in the protocol
(https://www.postgresql.org/docs/current/protocol-flow.html).
"""

from __future__ import annotations

import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Literal, Self
from urllib.parse import parse_qs, urlsplit

When = Literal["before", "after"]
NAME = ".s.PGSQL.5432"


class Cut:
    """A way to one database. `address` leads through it, `beyond` past it; `seen` counts statements since the last `at`."""

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        self._server = str(Path(parse_qs(parts.query)["host"][0]) / NAME)
        self.folder = Path(tempfile.mkdtemp(prefix="moa-cut-"))
        self.address = f"postgresql://{parts.netloc}{parts.path}?host={self.folder}"
        self.beyond = address
        self.seen = 0
        self.cuts = 0
        self._due: tuple[int, When] | None = None
        self._stays = False
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listener: socket.socket | None = None

    def __enter__(self) -> Self:
        self._listen()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()
        shutil.rmtree(self.folder, ignore_errors=True)

    def at(self, statement: int, when: When, *, stays: bool = False) -> None:
        """Break the connection at this statement, counted from now (the first is 1): before the server has it, or after it has done it.
        `stays`: nobody gets through from then on, until `back`."""
        with self._lock:
            self.seen, self._due, self._stays = 0, (statement, when), stays

    def never(self) -> int:
        """Break nothing from now on. How many statements there were since `at`."""
        with self._lock:
            self._due = None
            return self.seen

    def leave(self) -> None:
        """Nobody gets through any more, and who was through is thrown out."""
        (self.folder / NAME).unlink(missing_ok=True)
        with self._lock:
            if self._listener is not None:
                _close(self._listener)
            self._listener = None
            for each in self._open:
                _close(each)
            self._open.clear()

    def back(self) -> None:
        """The way is free again."""
        if self._listener is None:
            self._listen()

    @contextmanager
    def away(self) -> Iterator[None]:
        """Within, nobody gets through."""
        self.leave()
        try:
            yield
        finally:
            self.back()

    @contextmanager
    def mute(self) -> Iterator[list[socket.socket]]:
        """Within `away`: whoever comes is let in, and never answered. Who came."""
        came: list[socket.socket] = []

        def accept() -> None:
            with suppress(OSError):
                while True:
                    came.append(listener.accept()[0])

        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(self.folder / NAME))
            listener.listen(64)
            threading.Thread(target=accept, daemon=True).start()
            yield came
            listener.shutdown(socket.SHUT_RDWR)
        for each in came:
            each.close()
        (self.folder / NAME).unlink()

    def _listen(self) -> None:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(self.folder / NAME))
        listener.listen(64)
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            try:
                server.connect(self._server)
            except OSError:
                client.close()
                continue
            with self._lock:
                if self._listener is not listener:
                    _close(client)
                    _close(server)
                    return
                self._open |= {client, server}
            way = _Way(self, client, server)
            for pump in (way.asked, way.answered):
                threading.Thread(target=pump, daemon=True).start()

    def decide(self) -> When | None:
        """Another statement: whether the connection breaks at it."""
        with self._lock:
            self.seen += 1
            if self._due is None or self._due[0] != self.seen:
                return None
            when, self._due = self._due[1], None
            self.cuts += 1
            return when

    def broke(self, *ends: socket.socket) -> None:
        """It did."""
        if self._stays:
            self.leave()
        self.gone(*ends)

    def gone(self, *ends: socket.socket) -> None:
        """A connection has ended."""
        with self._lock:
            for each in ends:
                _close(each)
                self._open.discard(each)


class _Way:
    """One connection."""

    def __init__(self, cut: Cut, client: socket.socket, server: socket.socket) -> None:
        self._cut, self._client, self._server = cut, client, server
        self._breaks = False

    def asked(self) -> None:
        """From the client to the server."""
        data, begun = b"", False
        with suppress(OSError):
            while piece := self._client.recv(65536):
                data += piece
                while (message := _first(data, typed=begun)) is not None:
                    data = data[len(message) :]
                    when = self._cut.decide() if begun and message[:1] in (b"Q", b"S") else None
                    begun = True
                    if when == "before":
                        return self._cut.broke(self._client, self._server)
                    self._breaks = when == "after"
                    self._server.sendall(message)
        return self._cut.gone(self._client, self._server)

    def answered(self) -> None:
        """From the server to the client; the answer to the statement at which the connection breaks stays here."""
        data = b""
        with suppress(OSError):
            while piece := self._server.recv(65536):
                data += piece
                while (message := _first(data, typed=True)) is not None:
                    data = data[len(message) :]
                    if self._breaks:
                        if message[:1] == b"Z":
                            return self._cut.broke(self._client, self._server)
                        continue
                    self._client.sendall(message)
        return self._cut.gone(self._client, self._server)


def _first(data: bytes, *, typed: bool) -> bytes | None:
    """The first whole message; that of the start has no type."""
    at = 1 if typed else 0
    if len(data) < at + 4:
        return None
    size = at + int.from_bytes(data[at : at + 4], "big")
    return data[:size] if len(data) >= size else None


def _close(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
