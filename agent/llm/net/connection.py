"""One HTTP/1.1 connection to a server: what arrives is read by httptools (the parser of Node.js), as it arrives."""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import httptools
import httpx

if TYPE_CHECKING:
    Headers = list[tuple[bytes, bytes]]

HEAD_BYTES = 65_536
"""So much the head of an answer may have, those before it (100, 103) included."""
HELD_BYTES = 262_144
"""So much of a body is held for a reader who does not come for it; then the server has to wait."""
DRAIN_S = 0.005

_SWITCHED = "the server speaks another protocol from here on"
_CUT = "the server closed the connection in the middle of its answer"
_CLOSED = "the connection was closed here"


class Connection(asyncio.Protocol):
    """One socket. A request is written with `ask`, its answer read with `head` and `piece`; then the next one may be asked.

    What is wrong with an answer is raised where the reader comes to it, behind all that is whole: httpx.RemoteProtocolError, or OSError.
    """

    def __init__(self, origin: Any, gone: Callable[[Connection], None] = lambda _connection: None) -> None:
        """`origin` is for whoever keeps it, and `gone` is told when it has closed."""
        self.origin = origin
        self._gone = gone
        self.idle_since = 0.0
        self.status = 0
        self.version = "1.1"
        self.headers: Headers = []
        self._transport: Any = None
        self._poll: Any = None
        self._number = -1
        self._parser: Any = None
        self._waiter: asyncio.Future[None] | None = None
        self._pieces: list[bytes] = []
        self._held = 0
        self._head_size = 0
        self._bodiless = False
        self._begun = self._ended = True
        self._framed = self._keeps = self._paused = self._stray = False
        self._error: Exception | None = None

    # Asking

    @property
    def closed(self) -> bool:
        """True once the socket is closed, or about to be."""
        return bool(self._transport.is_closing())

    @property
    def whole(self) -> bool:
        """Whether the answer has come to its end, and another request may follow it."""
        return self._ended and self._keeps and not self._stray and not self.closed

    @property
    def usable(self) -> bool:
        """False once the server has closed its side of an idle connection, even where the event loop has not heard of it yet."""
        return self.whole and not self._readable()

    def ask(self, method: bytes, target: bytes, headers: Headers, body: bytes) -> None:
        """Write a whole request. An early refusal may break the pipe while the answer is already there: whoever reads hears what came."""
        lines = [b"%b %b HTTP/1.1" % (method, target), *(b"%b: %b" % pair for pair in headers)]
        head = b"\r\n".join(lines)
        if head.count(b"\n") >= len(lines) or head.count(b"\r") >= len(lines) or b"\0" in head:
            raise httpx.LocalProtocolError("a header has a line break in it")
        self._parser = parser = httptools.HttpResponseParser(self)
        # What other readers of answers take as well. One answer a connection is read at a time, so there is nothing to smuggle.
        parser.set_dangerous_leniencies(
            lenient_chunked_length=True,
            lenient_keep_alive=True,
            lenient_data_after_close=True,
            lenient_optional_cr_before_lf=True,
            lenient_spaces_after_chunk_size=True,
        )
        self.status, self.headers, self._pieces, self._held, self._head_size = 0, [], [], 0, 0
        self._bodiless = method == b"HEAD"
        self._begun = self._ended = self._framed = self._keeps = False
        self._error = None
        self._transport.write(b"%b\r\n\r\n%b" % (head, body))

    async def head(self) -> None:
        """Wait until the head of the answer is there: `status`, `version` and `headers`."""
        while not self._begun:
            if self._error is not None:
                raise self._error
            await self._wait()

    async def piece(self) -> bytes | None:
        """What has come of the body, or what comes next; None at its end."""
        while not self._pieces:
            if self._ended:
                return None
            if self._error is not None:
                raise self._error
            await self._wait()
        pieces, self._pieces, self._held = self._pieces, [], 0
        if self._paused and not self.closed:
            self._paused = False
            self._transport.resume_reading()
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def drain(self) -> None:
        """Read what may be left of an answer whose last words are known (the mark after `[DONE]`), so that the connection can go on living.

        It is nearly always there already; where it is not, a few milliseconds are all that it is worth.
        """
        if self._ended or self._error is not None:
            return
        try:
            async with asyncio.timeout(DRAIN_S):
                while await self.piece() is not None:
                    pass
        except (TimeoutError, OSError, httpx.HTTPError):
            return

    def abort(self) -> None:
        """Close the socket at once, without a TLS farewell: nothing that it may wait for is of interest any more."""
        self._fail(ConnectionAbortedError(_CLOSED))
        self._transport.abort()

    async def _wait(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _readable(self) -> bool:
        """Whether something waits at the socket. Between two answers that can only be its end, or what no request has asked for."""
        if self._number < 0:
            return False
        if self._poll is not None:
            return bool(self._poll.poll(0))
        return bool(select.select([self._number], [], [], 0)[0])

    # What the event loop tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands."""
        self._transport = transport
        socket = transport.get_extra_info("socket")
        self._number = -1 if socket is None else socket.fileno()
        if self._number >= 0 and hasattr(select, "poll"):
            self._poll = select.poll()
            self._poll.register(self._number, select.POLLIN)

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
        if self._ended:
            self._stray = True
            return
        if not self._begun:
            self._head_size += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._fail(httpx.RemoteProtocolError(_SWITCHED))
        except httptools.HttpParserError as error:
            self._fail(httpx.RemoteProtocolError(f"{error or type(error).__name__}"))
        if not self._begun and self._head_size > HEAD_BYTES:
            self._fail(httpx.RemoteProtocolError(f"the head of the answer has more than {HEAD_BYTES} bytes"))
        if self._held > HELD_BYTES and not self._paused:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> None:
        """The server has said all that it will."""
        self._over(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._over(exc)
        self._parser = None  # it holds this object, too
        self._gone(self)

    def _over(self, error: Exception | None) -> None:
        self._keeps = False
        if not self._ended and self._error is None:
            if not self._begun:
                self._fail(error or ConnectionResetError("the server closed the connection without an answer"))
            elif self._framed or error is not None:
                self._fail(error or httpx.RemoteProtocolError(_CUT))
            else:
                self._ended = True
        self._wake()

    def _fail(self, error: Exception) -> None:
        """The first thing that goes wrong is what is told; behind the end of an answer it only spoils the connection."""
        self._stray = True
        if not self._ended:
            self._error = self._error or error

    # What the parser tells

    def on_message_begin(self) -> None:
        """Another answer begins, perhaps one that nothing was asked for."""
        self._stray = self._stray or self._ended

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a line behind the body, which is of no interest."""
        if not self._begun:
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """The head is whole."""
        status = self._parser.get_status_code()
        if self._ended or 100 <= status < 200:
            return
        self._begun, self.status, self.version = True, status, self._parser.get_http_version()
        names = {name.lower(): value.lower() for name, value in self.headers}
        self._framed = b"content-length" in names or b"chunked" in names.get(b"transfer-encoding", b"")
        self._keeps = self._parser.should_keep_alive()
        if self._bodiless:
            # The parser does not know what was asked, and waits for a body.
            self._ended, self._keeps = True, False

    def on_body(self, data: bytes) -> None:
        """A part of the body."""
        if not self._ended:
            self._pieces.append(data)
            self._held += len(data)

    def on_message_complete(self) -> None:
        """The answer is whole; one that only announces another (100, 103) is none."""
        if self._begun:
            self._ended = True
        else:
            self.headers = []
