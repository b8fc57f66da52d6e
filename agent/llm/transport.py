"""A direct HTTP/1.1 connection for httpx: asyncio's own streams under h11.

Why not httpx's own transport: it loads httpcore, anyio and anyio's asyncio backend on the first request, which costs 20 to 30 ms between
the user's Return key and the first byte sent, more than everything else this package does. (httpcore's own seam, a network backend, does not
help: its locks load anyio all the same.) h11 is the parser that httpcore uses, too. Where a proxy is configured, http.py uses httpx's transport.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import h11
import httpx

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
        self._reader = reader
        self._writer = writer

    @property
    def usable(self) -> bool:
        """False once the server has closed its side of an idle connection."""
        return not (self._reader.at_eof() or self._writer.is_closing())

    async def send(self, request: httpx.Request) -> None:
        """Write a whole request. An early refusal may break the pipe while the answer is already there, so that is not an error yet."""
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
            event = self.state.next_event()
            if event is h11.NEED_DATA:
                data = await self._reader.read(READ_BYTES)
                if not data and self.state.their_state is h11.SEND_RESPONSE:
                    raise ConnectionResetError("the server closed the connection without an answer")
                self.state.receive_data(data)
            elif not isinstance(event, h11.InformationalResponse):
                return event

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
                yield bytes(event.data)
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
        """Raises httpx.ConnectError, ConnectTimeout, ReadError or RemoteProtocolError."""
        connection = self._reuse(_origin(request.url))
        if connection is not None:
            try:
                return await self._exchange(connection, request)
            except httpx.ReadError:
                # The server closed it just as we took it up again (llama.cpp's does so after every stream): not a word of an answer
                # has come, and a fresh connection tells whether the server is there.
                pass
        return await self._exchange(await self._connect(request), request)

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
                reader, writer = await asyncio.open_connection(
                    url.host,
                    url.port or (443 if secure else 80),
                    ssl=self._tls if secure else None,
                    server_hostname=url.host if secure else None,
                    # RFC 8305: a dead IPv6 route must not eat the connect clock.
                    happy_eyeballs_delay=0.25,
                )
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
