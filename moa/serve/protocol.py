"""uvicorn's connection with a bound on what it does not bound itself: a socket on which no whole request comes, and one whose other end
has gone without a word."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress

PROBES = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}
"""Seconds of silence before the kernel asks whether the other end is there, between two questions, and how many."""


def protocol(idle_s: float) -> type[asyncio.Protocol]:
    """The class for uvicorn."""
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    class Bounded(HttpToolsProtocol):
        """One connection. The time runs from its beginning to its first whole head, and is the same for each later one."""

        _waits: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            _ask_after(transport)
            self._wait()

        def connection_lost(self, exc: Exception | None) -> None:
            self._came()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            before = self.cycle
            super().data_received(data)
            if self.cycle is not before:
                self._came()
            elif self._waits is None and (before is None or before.response_complete):
                self._wait()  # the beginning of another request: uvicorn stops its own clock here

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


def _ask_after(transport: asyncio.Transport) -> None:
    own = transport.get_extra_info("socket")
    if own is None:
        return
    with suppress(OSError, AttributeError):
        own.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in PROBES.items():
            if (option := getattr(socket, name, None)) is not None:
                own.setsockopt(socket.IPPROTO_TCP, option, value)
