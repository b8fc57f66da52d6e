"""What arrives of an answer: bytes, within bounds, as events or as one body."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from agent.llm.net import limits, sse
from agent.llm.net.http import pieces

if TYPE_CHECKING:
    import httpx

WAIT = object()
"""Bytes came, and nothing that is whole yet."""


class Incoming:
    """The bytes of an answer, as many as `max_tokens` can need: events, or a whole body. Which it is says the content first."""

    def __init__(self, response: httpx.Response, max_tokens: int) -> None:
        self.is_stream = False
        self._named_stream = "event-stream" in response.headers.get("content-type", "").lower()
        self._pieces = pieces(response)
        self._most = limits.answer_bytes(max_tokens)
        self._events_left = limits.answer_events(max_tokens)
        self._size = 0
        self._known = False
        self._body: list[bytes] = []
        self._reader = sse.EventReader()
        self._events: deque[sse.Event] = deque()
        self._ended = False

    @property
    def body(self) -> bytes:
        """What came so far, where it is no stream."""
        return b"".join(self._body)

    @property
    def waiting(self) -> bool:
        """True while there are events that have come already."""
        return bool(self._events)

    @property
    def stray(self) -> str:
        """What stood in a stream and was no event."""
        return self._reader.stray

    def rest(self) -> list[sse.Event]:
        """What had come of a stream that broke and was not asked for yet, its unfinished last event included."""
        return [*self._events, *self._reader.close()]

    async def next(self) -> sse.Event | object | None:
        """The next event; WAIT after bytes that complete none; None at the end. Raises httpx.HTTPError and sse.TooLong."""
        if not self._events and not self._ended:
            piece = await anext(self._pieces, None)
            if piece is None:
                self._finish()
            else:
                self._take(piece)
        if self._events:
            return self.take()
        return None if self._ended else WAIT

    def take(self) -> sse.Event:
        """The next of the events that have come already. Raises sse.TooLong."""
        self._events_left -= 1
        if self._events_left < 0:
            raise sse.TooLong("it has more events than any answer needs")
        return self._events.popleft()

    async def aclose(self) -> None:
        """Stop reading."""
        await self._pieces.aclose()  # type: ignore[attr-defined]

    def _take(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size > self._most:
            raise sse.TooLong(f"it has more than {self._most} bytes")
        if self.is_stream:
            self._events.extend(self._reader.feed(piece))
            return
        self._body.append(piece)
        if not self._known:
            self._decide()

    def _decide(self) -> None:
        beginning = b"".join(self._body)
        events = True if self._named_stream else sse.looks_like_events(beginning)
        self._known = events is not None
        if events:
            self.is_stream, self._body = True, []
            self._events.extend(self._reader.feed(beginning))

    def _finish(self) -> None:
        self._ended = True
        if self._named_stream or self.is_stream:
            self.is_stream = True
            self._events.extend(self._reader.close())
