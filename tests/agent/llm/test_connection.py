"""What a server may answer on one connection, in pieces of any length."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from agent.llm.net.connection import HEAD_BYTES, HELD_BYTES, Connection

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
GONE = "closed the connection"


class Wire:
    """The transport of a connection that nobody is at the other end of."""

    def __init__(self) -> None:
        self.sent = b""
        self.closing = self.paused = False

    def write(self, data: bytes) -> None:
        self.sent += data

    def get_extra_info(self, _name: str) -> None:
        return None

    def is_closing(self) -> bool:
        return self.closing

    def abort(self) -> None:
        self.closing = True

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False


def opened() -> tuple[Connection, Any]:
    connection, wire = Connection(None), Wire()
    connection.connection_made(wire)  # type: ignore[arg-type]
    return connection, wire


async def answered(connection: Connection) -> tuple[int, bytes]:
    await connection.head()
    body = b""
    while (piece := await connection.piece()) is not None:
        body += piece
    return connection.status, body


def whole(data: bytes) -> list[bytes]:
    return [data]


def by_bytes(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


@pytest.mark.parametrize("cut", [whole, by_bytes])
@pytest.mark.parametrize(
    ("said", "status", "body", "again"),
    [
        (OK + b"Content-Length: 2\r\n\r\nhi", 200, b"hi", True),
        (OK + b"Content-Length: 0\r\n\r\n", 200, b"", True),
        (b"HTTP/1.1 429\nContent-Length: 2\n\nhi", 429, b"hi", True),
        (CHUNKED + b"2\r\nhi\r\n1;a=b\r\n!\r\n0\r\n\r\n", 200, b"hi!", True),
        (CHUNKED + b"2  \r\nhi\r\n0\r\nx-trailer: 1\r\n\r\n", 200, b"hi", True),
        (OK + b"Content-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", 200, b"hi", True),
        (b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + OK + b"Content-Length: 2\r\n\r\nhi", 200, b"hi", True),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b"", True),
        (OK + b"Connection: close\r\nContent-Length: 2\r\n\r\nhi", 200, b"hi", False),
        (OK + b"Content-Length: 2\r\n\r\nhi" + OK, 200, b"hi", False),
        # Nothing says how long it is: it goes on until the server hangs up.
        (OK + b"\r\nhi", 200, b"hi", False),
        (b"HTTP/1.0 200 OK\r\n\r\nhi", 200, b"hi", False),
    ],
)
def test_an_answer(cut: Callable[[bytes], list[bytes]], said: bytes, status: int, body: bytes, again: bool) -> None:
    async def main() -> None:
        connection, _wire = opened()
        connection.ask(b"POST", b"/", [(b"host", b"x")], b"ask")
        for piece in cut(said):
            connection.data_received(piece)
        assert connection.usable is again
        if not again:
            connection.eof_received()
        assert await answered(connection) == (status, body)
        assert not any(name == b"link" or name.startswith(b"x-") for name, _value in connection.headers)
        if again:  # the next one knows nothing of it
            connection.ask(b"POST", b"/", [(b"host", b"x")], b"ask")
            connection.data_received(OK + b"Content-Length: 4\r\n\r\nnext")
            assert await answered(connection) == (200, b"next")

    asyncio.run(main())


@pytest.mark.parametrize("cut", [whole, by_bytes])
@pytest.mark.parametrize(
    ("said", "words", "kept"),
    [
        (b"", GONE, None),
        (b"HTTP/1.1 20", GONE, None),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "Expected HTTP", None),
        (b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nblah", "another protocol", None),
        (OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nhi", "Content-Length", None),
        (OK + b"x: " + b"y" * HEAD_BYTES, "more than", None),
        (OK + b"Content-Length: 3\r\n\r\nhi", GONE, b"hi"),
        (CHUNKED + b"2\r\nhi\r\n", GONE, b"hi"),
        (CHUNKED + b"2\r\nhi\r\nzz\r\n", "chunk size", b"hi"),
        (CHUNKED + b"2\r\nhi\r\nfffffffffffffffffffff\r\n", "overflow", b"hi"),
    ],
)
def test_a_broken_answer(cut: Callable[[bytes], list[bytes]], said: bytes, words: str, kept: bytes | None) -> None:
    """What came before the break is given first."""

    async def main() -> None:
        connection, _wire = opened()
        connection.ask(b"POST", b"/", [], b"")
        for piece in cut(said):
            connection.data_received(piece)
        connection.eof_received()
        got = None
        with pytest.raises((httpx.RemoteProtocolError, OSError), match=words):
            await connection.head()
            got = b""
            while (piece_ := await connection.piece()) is not None:
                got += piece_
        assert got == kept and not connection.usable

    asyncio.run(main())


def test_an_answer_that_nobody_reads_is_not_held_without_end() -> None:
    async def main() -> None:
        connection, wire = opened()
        connection.ask(b"GET", b"/", [], b"")
        connection.data_received(OK + b"Content-Length: 10000000\r\n\r\n")
        connection.data_received(b"x" * (HELD_BYTES + 1))
        assert wire.paused
        assert len(await connection.piece() or b"") == HELD_BYTES + 1
        assert not wire.paused

    asyncio.run(main())


def test_a_body_without_a_length_is_not_whole_when_we_hang_up() -> None:
    async def main() -> None:
        connection, wire = opened()
        connection.ask(b"GET", b"/", [], b"")
        connection.data_received(OK + b"\r\nhi")
        connection.abort()
        connection.connection_lost(None)
        assert wire.closing and await connection.piece() == b"hi"
        with pytest.raises(ConnectionAbortedError):
            await connection.piece()

    asyncio.run(main())


@pytest.mark.parametrize("value", [b"a\r\nx: b", b"a\nb", b"a\rb", b"a\0b"])
def test_a_header_can_bring_no_other(value: bytes) -> None:
    connection, wire = opened()
    with pytest.raises(httpx.LocalProtocolError):
        connection.ask(b"POST", b"/", [(b"host", b"x"), (b"x-title", value)], b"")
    assert not wire.sent
