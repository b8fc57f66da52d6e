"""Direct HTTP/1.1 connections for httpx.

Why not httpx's own transport: it loads httpcore, anyio and anyio's asyncio backend on the first request, which costs 20 to 30 ms between
the user's Return key and the first byte sent, more than everything else this package does. (httpcore's own seam, a network backend, does not
help: its locks load anyio all the same.) Where a proxy is configured, http.py uses httpx's transport.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import TYPE_CHECKING

import httpx

from agent.llm.net.connection import Connection
from agent.llm.net.dial import dial

if TYPE_CHECKING:
    import ssl

    Origin = tuple[bytes, bytes, int | None]

KEEP_ALIVE_S = 20.0


class Body(httpx.AsyncByteStream):
    """The body of one response. Closing it before its end closes the socket."""

    def __init__(self, connection: Connection, keep: Callable[[Connection], None]) -> None:
        self._connection: Connection | None = connection
        self._keep = keep

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            while self._connection is not None and (piece := await self._connection.piece()) is not None:
                yield piece
        except OSError as error:
            raise httpx.ReadError(str(error) or type(error).__name__) from error

    async def aclose(self) -> None:
        """Give the connection back if the answer was read to its end, else close it."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        await connection.drain()
        if connection.whole:
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
        self._all: set[Connection] = set()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Raises httpx.ConnectError, ConnectTimeout, ReadError or RemoteProtocolError.

        A request is written once. Only a connection that was closed before that is replaced without a word (llama.cpp's server closes
        after every stream); one that breaks later may have been read, and billed, so that whoever asked must hear of it.
        """
        connection = self._reuse(_origin(request.url)) or await self._connect(request)
        return await self._exchange(connection, request)

    async def _exchange(self, connection: Connection, request: httpx.Request) -> httpx.Response:
        try:
            body = await request.aread()
            connection.ask(request.method.encode(), request.url.raw_path, request.headers.raw, body)
            await connection.head()
        except OSError as error:
            connection.abort()
            raise httpx.ReadError(str(error) or type(error).__name__) from error
        except BaseException:
            connection.abort()
            raise
        return httpx.Response(
            connection.status,
            headers=connection.headers,
            stream=Body(connection, self._keep),
            extensions={"http_version": b"HTTP/" + connection.version.encode()},
        )

    async def aclose(self) -> None:
        """Close every connection, those with an unfinished answer as well."""
        for connection in list(self._all):
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
                tls = self._tls if secure else None
                connection = await dial(
                    partial(Connection, _origin(url), self._all.discard), address, port, tls, name=url.host
                )
        except TimeoutError as error:
            raise httpx.ConnectTimeout(f"no connection within {limit} s") from error
        except OSError as error:
            raise httpx.ConnectError(str(error) or type(error).__name__) from error
        if not connection.closed:
            self._all.add(connection)
        return connection


def _origin(url: httpx.URL) -> Origin:
    return url.raw_scheme, url.raw_host, url.port
