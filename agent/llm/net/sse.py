"""Server-sent events out of bytes (https://html.spec.whatwg.org/multipage/server-sent-events.html), within bounds.

A stream of events is UTF-8, whatever its content type says: a `charset=ISO-8859-1` that some proxy adds would be believed by an HTTP
library and turn every accent into two other characters. What is in the stream and is no field of an event (servers write a bare JSON
error there) is not thrown away, but kept aside.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from agent.llm.net import limits

_BOM = b"\xef\xbb\xbf"
_FIELDS = frozenset({"data", "event", "id", "retry"})


class TooLong(ValueError):
    """An event goes on beyond the bound."""


class Event(NamedTuple):
    """One event. `name` is "message" where the stream gives none."""

    name: str
    data: str


class EventReader:
    """Takes the bytes as they come, in pieces of any length."""

    def __init__(self) -> None:
        self._most = limits.LINE_BYTES
        self._pending: list[bytes] = []  # pieces of the last line, which has not ended yet
        self._size = 0  # of the pending line and of the event's data
        self._after_cr = False
        self._begun = False
        self._name = ""
        self._data: list[str] = []
        self._stray: list[str] = []
        self._stray_size = 0

    @property
    def stray(self) -> str:
        """What stood between the events and was none."""
        return "\n".join(self._stray)

    def feed(self, piece: bytes) -> list[Event]:
        """More of the stream: the events that are whole now. Raises TooLong."""
        if not piece:
            return []
        if self._after_cr and piece[:1] == b"\n":
            piece = piece[1:]  # the other half of a line's end
        self._after_cr = False
        events: list[Event] = []
        if b"\r" not in piece:
            *whole, piece = piece.split(b"\n\n")
            between = self._is_between
            for each in whole:
                # Nearly every event is one line.
                if between and each.startswith(b"data: ") and b"\n" not in each and len(each) <= self._most:
                    events.append(Event("message", each[6:].decode("utf-8", "replace")))
                else:
                    self._lines(each + b"\n\n", events)
                    between = self._is_between
        if piece:
            self._lines(piece, events)
        return events

    @property
    def _is_between(self) -> bool:
        """Whether what comes now is the beginning of an event."""
        return self._begun and not (self._size or self._data or self._name) and not any(self._pending)

    def _lines(self, piece: bytes, events: list[Event]) -> None:
        self._after_cr = piece[-1:] == b"\r"
        first, *rest = re.split(rb"\r\n|\n|\r", piece)
        self._pending.append(first)
        self._grow(len(first))
        for line in rest:
            self._end_line(events)
            self._pending.append(line)
            self._grow(len(line))

    def close(self) -> list[Event]:
        """The stream is over: what its last lines say, though no empty line follows them."""
        events: list[Event] = []
        self._end_line(events)
        self._dispatch(events)
        return events

    def _grow(self, count: int) -> None:
        self._size += count
        if self._size > self._most:
            raise TooLong(f"one event has more than {self._most} bytes")

    def _end_line(self, events: list[Event]) -> None:
        raw = self._pending[0] if len(self._pending) == 1 else b"".join(self._pending)
        self._pending = []
        if not self._begun:
            self._begun = True
            raw = raw.removeprefix(_BOM)
        if not raw:
            self._dispatch(events)
            return
        line = raw.decode("utf-8", "replace")
        field, _colon, value = line.partition(":")
        if field == "data":
            self._data.append(value.removeprefix(" "))
        elif field == "event":
            self._name = value.removeprefix(" ")
        elif field and field not in _FIELDS:
            self._keep(line)
        if field != "data":
            self._size -= len(raw)

    def _keep(self, line: str) -> None:
        if self._stray_size < self._most:
            self._stray.append(line)
            self._stray_size += len(line)

    def _dispatch(self, events: list[Event]) -> None:
        if self._data:
            events.append(Event(self._name or "message", "\n".join(self._data)))
        self._name, self._data, self._size = "", [], 0


def events_of(body: bytes) -> list[Event]:
    """The events of a whole body. Raises TooLong."""
    reader = EventReader()
    return [*reader.feed(body), *reader.close()]


def looks_like_events(beginning: bytes) -> bool | None:
    """True where a body begins as a stream of events does, whatever its content type is; None while that can't be told."""
    *lines, last = re.split(rb"\r\n|\n|\r", beginning.removeprefix(_BOM))
    for line in [*lines, last] if len(last) >= len(b"event:") else lines:
        if line.strip() and not line.startswith(b":"):
            return line.startswith((b"data:", b"event:", b"id:", b"retry:"))
    return None
