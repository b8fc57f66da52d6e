"""A direct HTTP/1.1 connection for httpx: asyncio's own streams under h11.

Why not httpx's own transport: it loads httpcore, anyio and anyio's asyncio backend on the first request, which costs 20 to 30 ms between
the user's Return key and the first byte sent, more than everything else this package does. (httpcore's own seam, a network backend, does not
help: its locks load anyio all the same.) h11 is the parser that httpcore uses, too. Where a proxy is configured, http.py uses httpx's transport.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import h11
import httpx

from agent.llm.net.dial import dial

if TYPE_CHECKING:
    import ssl

    Origin = tuple[bytes, bytes, int | None]

KEEP_ALIVE_S = 20.0
READ_BYTES = 65_536
DRAIN_S = 0.005


class Connection:
    """One socket and the state of the HTTP/1.1 conversation on it."""

    def __init__(self, origin: Origin, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.origin = origin
        self.state = h11.Connection(h11.CLIENT)
        self.idle_since = 0.0
        self._ahead: Any = None
        self._reader = reader
        self._writer = writer

    @property
    def usable(self) -> bool:
        """False once the server has closed its side of an idle connection, even where the event loop has not heard of it yet."""
        return not (self._reader.at_eof() or self._writer.is_closing() or self._readable())

    def _readable(self) -> bool:
        """Whether something waits at the socket. Between two answers that can only be its end, or what no request has asked for."""
        socket = self._writer.get_extra_info("socket")
        number = -1 if socket is None else socket.fileno()
        if number < 0:
            return False
        if hasattr(select, "poll"):
            waiting = select.poll()
            waiting.register(number, select.POLLIN)
            return bool(waiting.poll(0))
        return bool(select.select([number], [], [], 0)[0])

    async def send(self, request: httpx.Request) -> None:
        """Write a whole request. An early refusal may break the pipe while the answer is already there, so that is not an error yet."""
        self._ahead = None  # of an answer that was not read to its very end
        head = h11.Request(method=request.method, target=request.url.raw_path, headers=request.headers.raw)
        self._writer.write(self.state.send(head) or b"")
        assert isinstance(request.stream, httpx.AsyncByteStream)
        async for chunk in request.stream:
            self._writer.write(self.state.send(h11.Data(data=chunk)) or b"")
        self._writer.write(self.state.send(h11.EndOfMessage()) or b"")
        try:
            await self._writer.drain()
        except ConnectionError:
            if self._reader.at_eof():
                raise

    async def event(self) -> Any:
        """The next event: a Response, Data, EndOfMessage or ConnectionClosed."""
        while True:
            event, self._ahead = self._ahead or self.state.next_event(), None
            if isinstance(event, h11.RemoteProtocolError):
                raise event
            if event is h11.NEED_DATA:
                data = await self._reader.read(READ_BYTES)
                if not data and self.state.their_state is h11.SEND_RESPONSE:
                    raise ConnectionResetError("the server closed the connection without an answer")
                self.state.receive_data(data)
            elif not isinstance(event, h11.InformationalResponse):
                return event

    def arrived(self) -> list[bytes]:
        """What has come of a body already: handed on in one piece, each chunk costs its reader no round of its own."""
        found: list[bytes] = []
        while self.state.their_state is h11.SEND_BODY:
            try:
                event = self.state.next_event()
            except h11.RemoteProtocolError as error:
                self._ahead = error
                break
            if isinstance(event, h11.Data):
                found.append(bytes(event.data))
                continue
            if event is not h11.NEED_DATA:
                self._ahead = event
            break
        return found

    async def drain(self) -> None:
        """Read what may be left of an answer whose last words are known (the mark after `[DONE]`), so that the connection can go on living.

        It is nearly always there already; where it is not, a few milliseconds are all that it is worth.
        """
        with suppress(TimeoutError, OSError, RuntimeError, h11.RemoteProtocolError):
            async with asyncio.timeout(DRAIN_S):
                while self.state.their_state is h11.SEND_BODY:
                    await self.event()

    @property
    def closed(self) -> bool:
        """True once the socket is closed, or about to be."""
        return self._writer.is_closing()

    def abort(self) -> None:
        """Close the socket at once, without a TLS farewell: nothing that it may wait for is of interest any more."""
        self._writer.transport.abort()


class Body(httpx.AsyncByteStream):
    """The body of one response. Closing it before its end closes the socket."""

    def __init__(self, connection: Connection, keep: Callable[[Connection], None]) -> None:
        self._connection: Connection | None = connection
        self._keep = keep

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            while self._connection is not None:
                event = await self._connection.event()
                if not isinstance(event, h11.Data):
                    return
                yield b"".join((bytes(event.data), *self._connection.arrived()))
        except h11.RemoteProtocolError as error:
            raise httpx.RemoteProtocolError(str(error)) from error
        except OSError as error:
            raise httpx.ReadError(str(error) or type(error).__name__) from error

    async def aclose(self) -> None:
        """Give the connection back if the answer was read to its end, else close it."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        await connection.drain()
        state = connection.state
        if state.our_state is h11.DONE and state.their_state is h11.DONE and connection.usable:
            state.start_next_cycle()
            self._keep(connection)
        else:
            connection.abort()


class DirectTransport(httpx.AsyncBaseTransport):
    """Sends requests straight to their host, keeping idle connections for `KEEP_ALIVE_S` seconds.

    `tls` makes the context for https:// on its first use (20 to 25 ms, which http:// never pays).
    """

    def __init__(self, tls: Callable[[], ssl.SSLContext]) -> None:
        self._make_tls = tls
        self._tls: ssl.SSLContext | None = None
        self._idle: dict[Origin, list[Connection]] = {}
        self._all: list[Connection] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Raises httpx.ConnectError, ConnectTimeout, ReadError or RemoteProtocolError.

        A request is written once. Only a connection that was closed before that is replaced without a word (llama.cpp's server closes
        after every stream); one that breaks later may have been read, and billed, so that whoever asked must hear of it.
        """
        connection = self._reuse(_origin(request.url)) or await self._connect(request)
        return await self._exchange(connection, request)

    async def _exchange(self, connection: Connection, request: httpx.Request) -> httpx.Response:
        try:
            await connection.send(request)
            head = await connection.event()
        except h11.RemoteProtocolError as error:
            connection.abort()
            raise httpx.RemoteProtocolError(str(error)) from error
        except OSError as error:
            connection.abort()
            raise httpx.ReadError(str(error) or type(error).__name__) from error
        except BaseException:
            connection.abort()
            raise
        return httpx.Response(
            head.status_code,
            headers=head.headers.raw_items(),
            stream=Body(connection, self._keep),
            extensions={"http_version": b"HTTP/" + head.http_version, "reason_phrase": head.reason},
        )

    async def aclose(self) -> None:
        """Close every connection, those with an unfinished answer as well."""
        for connection in self._all:
            connection.abort()
        self._all.clear()
        self._idle.clear()

    def _reuse(self, origin: Origin) -> Connection | None:
        now = asyncio.get_running_loop().time()
        waiting = self._idle.get(origin, [])
        while waiting:
            connection = waiting.pop()
            if connection.usable and now - connection.idle_since < KEEP_ALIVE_S:
                return connection
            connection.abort()
        return None

    def _keep(self, connection: Connection) -> None:
        connection.idle_since = asyncio.get_running_loop().time()
        self._idle.setdefault(connection.origin, []).append(connection)

    async def _connect(self, request: httpx.Request) -> Connection:
        url = request.url
        secure = url.scheme == "https"
        if secure and self._tls is None:
            self._tls = self._make_tls()
        limit = request.extensions.get("timeout", {}).get("connect")
        try:
            async with asyncio.timeout(limit):
                port = url.port or (443 if secure else 80)
                # Whoever has checked an address has the connection go there, without a second look-up.
                address = request.extensions.get("address", url.host)
                reader, writer = await dial(address, port, self._tls if secure else None, name=url.host)
        except TimeoutError as error:
            raise httpx.ConnectTimeout(f"no connection within {limit} s") from error
        except OSError as error:
            raise httpx.ConnectError(str(error) or type(error).__name__) from error
        connection = Connection(_origin(url), reader, writer)
        self._all = [other for other in self._all if not other.closed]
        self._all.append(connection)
        return connection


def _origin(url: httpx.URL) -> Origin:
    return url.raw_scheme, url.raw_host, url.port
