"""The answer on its way to the client: its head, the pieces, and signs of life while nothing has come yet. Nothing here waits without end
for a client that does not read."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from contextlib import AbstractAsyncContextManager
from typing import Any

from agent.llm.net.alarm import Alarm

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
        self._alarm = Alarm()

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

    def waiting(self, after_s: float, sign: Callable[[], bytes]) -> AbstractAsyncContextManager[None]:
        """While something is waited for: after so many seconds the head of a stream, then signs of life. Ends with the context."""
        return _Waiting(self, after_s, sign)

    def stop(self) -> None:
        """Nothing is sent any more."""
        self._alarm.stop()

    async def _out(self, message: MutableMapping[str, Any]) -> None:
        await self._alarm.bound(self._send(message), asyncio.get_running_loop().time() + STALLED_S)
        if self.over:
            self._alarm.stop()


class _Waiting:
    """See `Reply.waiting`. Nearly all that is waited for comes before the first sign is due, and then no task is made."""

    def __init__(self, reply: Reply, after_s: float, sign: Callable[[], bytes]) -> None:
        self._reply = reply
        self._after_s = after_s
        self._sign = sign
        self._timer: asyncio.TimerHandle | None = None
        self._ticker: asyncio.Task[None] | None = None

    async def __aenter__(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._after_s, self._begin)

    async def __aexit__(self, *_raised: object) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._ticker is not None:
            self._ticker.cancel()
            # Not the ticker itself: that the request is stopped at this moment would look as if the ticker had been.
            await asyncio.wait([self._ticker])

    def _begin(self) -> None:
        self._ticker = asyncio.get_running_loop().create_task(self._tick(), name="keep-alives")
        self._ticker.add_done_callback(lambda done: done.cancelled() or done.exception())

    async def _tick(self) -> None:
        reply = self._reply
        while not reply.over:
            await reply.head(200, STREAM)
            await reply.write(self._sign())
            await asyncio.sleep(ALIVE_S)


def _field(value: str) -> bytes:
    """A header's value; what can't be in one is left out."""
    if not value.isprintable():
        value = "".join(letter if letter.isprintable() else " " for letter in value)
    return value.encode("latin-1", "replace")
