"""The answer on its way to the client: its head, the pieces, and signs of life while nothing has come yet. Nothing here waits without end
for a client that does not read."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

ALIVE_S = 10.0
"""Seconds between two signs of life."""
STALLED_S = 120.0
"""So long a client may leave what it was sent unread."""
STREAM = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache", "x-accel-buffering": "no"}


class Reply:
    """One answer to one request. `told` are headers that are asked for as late as possible."""

    def __init__(self, send: Send, told: Callable[[], Mapping[str, str]] = dict) -> None:
        self.begun = False
        self.over = False
        self.status = 0
        self.told = told
        self.extra: Mapping[str, str] = {}
        self._send = send

    async def head(self, status: int, headers: Mapping[str, str]) -> None:
        """The beginning, once."""
        if self.begun:
            return
        self.begun, self.status = True, status
        every = {**headers, **self.told(), **self.extra}
        raw = [(name.lower().encode("latin-1"), _field(value)) for name, value in every.items()]
        await self._out({"type": "http.response.start", "status": status, "headers": raw})

    async def write(self, data: bytes) -> None:
        """A piece of the body."""
        if data and not self.over:
            await self._out({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self, data: bytes = b"") -> None:
        """The last piece."""
        if not self.over:
            self.over = True
            await self._out({"type": "http.response.body", "body": data, "more_body": False})

    async def whole(self, status: int, body: dict[str, Any], headers: Mapping[str, str] | None = None) -> None:
        """A JSON object as the whole answer."""
        data = json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")
        await self.body(status, data, {"content-type": "application/json", **(headers or {})})

    async def body(self, status: int, data: bytes, headers: Mapping[str, str]) -> None:
        """A whole answer."""
        await self.head(status, {**headers, "content-length": str(len(data))})
        await self.end(data)

    @asynccontextmanager
    async def waiting(self, after_s: float, sign: Callable[[], bytes]) -> AsyncIterator[None]:
        """While something is waited for: after so many seconds the head of a stream, then signs of life. Ends with the context."""
        ticker = asyncio.create_task(self._tick(after_s, sign), name="keep-alives")
        ticker.add_done_callback(lambda done: done.cancelled() or done.exception())
        try:
            yield
        finally:
            ticker.cancel()
            # Not the ticker itself: that the request is stopped at this moment would look as if the ticker had been.
            await asyncio.wait([ticker])

    async def _tick(self, after_s: float, sign: Callable[[], bytes]) -> None:
        await asyncio.sleep(after_s)
        while not self.over:
            await self.head(200, STREAM)
            await self.write(sign())
            await asyncio.sleep(ALIVE_S)

    async def _out(self, message: MutableMapping[str, Any]) -> None:
        async with asyncio.timeout(STALLED_S):
            await self._send(message)


def _field(value: str) -> bytes:
    """A header's value; what can't be in one is left out."""
    return "".join(letter if letter.isprintable() else " " for letter in value).encode("latin-1", "replace")
