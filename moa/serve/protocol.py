"""uvicorn's connection with a bound on what it does not bound itself: a head that is longer than any client's, a socket on which no whole
request comes, and one whose other end has gone without a word."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress

PROBES = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}
"""Seconds of silence before the kernel asks whether the other end is there, between two questions, and how many."""

HEAD_BYTES = 64 * 1024
"""Of a request's address and headers together, before anybody has been asked for a key."""

_TOO_LONG = {414: b"URI Too Long", 431: b"Request Header Fields Too Large"}


class _TooLong(Exception):
    """Tells the parser to stop."""


def protocol(idle_s: float) -> type[asyncio.Protocol]:
    """The class for uvicorn."""
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    class Bounded(HttpToolsProtocol):
        """One connection. The time runs from its beginning to its first whole head, and is the same for each later one."""

        _waits: asyncio.TimerHandle | None = None
        _head = 0
        _unread = 0
        """Bytes since the parser last gave anything out: it holds back a header until all of it is there."""

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            _ask_after(transport)
            self._wait()

        def connection_lost(self, exc: Exception | None) -> None:
            self._came()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            before = self.cycle
            self._unread += len(data)
            super().data_received(data)
            if self._unread > HEAD_BYTES and not self.transport.is_closing():
                self.send_400_response("")
            if self.cycle is not before:
                self._came()
            elif self._waits is None and (before is None or before.response_complete):
                self._wait()  # the beginning of another request: uvicorn stops its own clock here

        def on_message_begin(self) -> None:
            self._head = 0
            super().on_message_begin()

        def on_url(self, url: bytes) -> None:
            self._read(len(url))
            super().on_url(url)

        def on_header(self, name: bytes, value: bytes) -> None:
            self._read(len(name) + len(value) + 4)
            super().on_header(name, value)

        def on_body(self, body: bytes) -> None:
            self._unread = 0
            super().on_body(body)

        def _read(self, size: int) -> None:
            self._unread = 0
            self._head += size
            if self._head > HEAD_BYTES:
                raise _TooLong

        def send_400_response(self, msg: str) -> None:
            """What is no request is refused; a head that is too long by that name."""
            cycle = self.cycle
            if cycle is not None and cycle.response_started and not cycle.response_complete:
                self.transport.abort()  # it would be taken for a part of the answer that is under way
            elif max(self._head, self._unread) > HEAD_BYTES:
                self.transport.write(_refusal(431 if self.headers else 414))
                self.transport.close()
            else:
                super().send_400_response(msg)

        def _wait(self) -> None:
            self._waits = self.loop.call_later(idle_s, self._none_came)

        def _came(self) -> None:
            if self._waits is not None:
                self._waits.cancel()
                self._waits = None

        def _none_came(self) -> None:
            if not self.transport.is_closing():
                self.transport.abort()

    return Bounded


def _refusal(status: int) -> bytes:
    words = b"the request's address and headers have more than %d bytes" % HEAD_BYTES
    fields = b"content-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\nconnection: close" % len(words)
    return b"HTTP/1.1 %d %b\r\n%b\r\n\r\n%b" % (status, _TOO_LONG[status], fields, words)


def _ask_after(transport: asyncio.Transport) -> None:
    own = transport.get_extra_info("socket")
    if own is None:
        return
    with suppress(OSError, AttributeError):
        own.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in PROBES.items():
            if (option := getattr(socket, name, None)) is not None:
                own.setsockopt(socket.IPPROTO_TCP, option, value)
