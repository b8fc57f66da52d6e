"""The events of an answer as they come from an upstream: cut into whole ones, byte for byte, and read only where they say what it used."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from agent.llm.answers.reading import as_dict, as_list, as_name
from agent.llm.answers.usage import UsageReport
from agent.llm.errors import StreamBroken
from agent.llm.net import limits
from agent.llm.refusals.envelope import is_error
from agent.llm.relay import Heard
from agent.text import foreign_json

_END = re.compile(rb"\n\n|\r\n\r\n|\r\r")

# What an event has in it, at least, if it says what the answer used, that it failed or that it is over. All others are passed on unread.
# Each is looked for by itself: with a fixed beginning that is many times faster than all at once.
_TELLING: dict[str, tuple[re.Pattern[bytes], ...]] = {
    wire: tuple(map(re.compile, patterns))
    for wire, patterns in {
        "messages": (rb"message_start", rb"message_delta", rb"message_stop", rb'"error"'),
        "responses": (rb'"response"', rb'"error"'),
        "chat": (rb'"usage" ?: ?\{', rb'"finish_reason" ?: ?"', rb'"error"', rb"\[DONE\]", rb'"timings"'),
    }.items()
}
_ENDS = frozenset({"response.completed", "response.incomplete", "response.failed"})


class Event(NamedTuple):
    """One event: its bytes, and what they say (None: nothing that was read)."""

    raw: bytes
    payload: dict[str, Any] | None = None


class Cutter:
    """Cuts bytes into whole events. What is left at the end was none."""

    def __init__(self) -> None:
        self.rest = b""

    def feed(self, piece: bytes) -> list[bytes]:
        """More bytes: the events that are whole now, each with the empty line behind it. Raises StreamBroken for one without end."""
        return events_in(self.block(piece))

    def block(self, piece: bytes) -> bytes:
        """More bytes: all events that are whole now, in one. Raises StreamBroken for one without end."""
        text = self.rest + piece if self.rest else piece
        if _is_plain(text):
            end = text.rfind(b"\n\n") + 2 if b"\n\n" in text else 0
        else:
            end = max((match.end() for match in _END.finditer(text)), default=0)
        self.rest = text[end:]
        if len(self.rest) > limits.LINE_BYTES:
            raise StreamBroken(f"one event of the answer has more than {limits.LINE_BYTES} bytes")
        return text[:end]


def events_in(block: bytes) -> list[bytes]:
    """The events of a block of whole ones."""
    if _is_plain(block):
        return [each + b"\n\n" for each in block.split(b"\n\n")[:-1]]
    found, start = [], 0
    for match in _END.finditer(block):
        found.append(block[start : match.end()])
        start = match.end()
    return found


def _is_plain(text: bytes) -> bool:
    """Whether its lines end as nearly everybody's do, and no event is followed by more than one empty line."""
    return b"\r" not in text and b"\n\n\n" not in text


def data_of(raw: bytes) -> bytes:
    """The data of an event; empty for a comment."""
    if raw.startswith(b"data: ") and raw.endswith(b"\n\n") and raw.count(b"\n") == 2 and b"\r" not in raw:
        return raw[6:-2]  # as nearly every event is
    lines = raw.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    return b"\n".join(line[5:].removeprefix(b" ") for line in lines if line.startswith(b"data:"))


class Meter:
    """Reads of an answer on one wire what it says of itself. `over`: it has come to its end. `failed`: what it says went wrong."""

    def __init__(self, wire: str, *, all: bool = False) -> None:
        self.over = False
        self.failed: dict[str, Any] | None = None
        self.heard = Heard()
        self.finished = False
        """A reason to stop was given (Chat Completions: servers may close without `[DONE]` behind it)."""
        self.response: dict[str, Any] = {}
        """Of the Responses API: the response as it began."""
        self.sequence = -1
        self._wire = wire
        self._all = all
        self._first = True
        self._report = UsageReport()

    def parts(self, block: bytes) -> Iterator[tuple[bytes, bool]]:
        """The events of a block of whole ones, each to be read; and many in one that say nothing of all this, which are passed on as they are
        (True). Whoever asks reads one before it asks for the next."""
        if self._first and _is_plain(block):
            start = 0  # a block is cut once: there may be any number of events before the first that says something
            while self._first and start < len(block):
                end = block.index(b"\n\n", start) + 2
                yield block[start:end], False
                start = end
            block = block[start:]
        if unread := self._unread(block):
            yield block[:unread], True
            block = block[unread:]
        for event in events_in(block):
            yield event, False

    def _unread(self, block: bytes) -> int:
        """How many bytes at the beginning of a block need not be read. What is not as nearly every server writes it is read event by event."""
        if self._all or not _is_plain(block):
            return 0
        if (
            block.startswith(b":") or b"\n:" in block or b"event: ping" in block
        ):  # signs of life, which are no words of the model
            return 0
        telling = self._telling(block)
        end = len(block) if telling is None else block.rfind(b"\n\n", 0, telling) + 2
        if end < 2 or block.count(b"\n\n", 0, end) != block.count(b"}\n\n", 0, end):
            return 0
        return end

    def _telling(self, block: bytes) -> int | None:
        """Where the first is that says something."""
        found = [match.start() for pattern in _TELLING[self._wire] if (match := pattern.search(block))]
        return min(found, default=None)

    def read(self, raw: bytes) -> Event:
        """One event, read where it has to be. Raises StreamBroken for one that no client could read."""
        ended = raw.rstrip().endswith((b"}", b"]"))
        if ended and not self._all and not self._first and self._telling(raw) is None:
            return Event(raw)
        data = data_of(raw)
        if not data:
            return Event(raw)
        if data.strip() == b"[DONE]":
            self.over = True
            return Event(raw)
        try:
            payload = foreign_json.loads(data)
        except ValueError:
            raise StreamBroken("an event of the answer is not JSON") from None
        if not isinstance(payload, dict):
            return Event(raw)
        self._first = False
        self.take(payload)
        return Event(raw, payload)

    def take(self, payload: dict[str, Any]) -> None:
        """What one event, or a whole body, says."""
        getattr(self, f"_{self._wire}")(payload)
        self.heard.usage = self._report.usage
        self.heard.cost_nano = self._report.cost_nano

    def whole(self, payload: dict[str, Any]) -> None:
        """An answer that was not streamed."""
        self._identity(payload)
        self._report.add(as_dict(payload.get("usage")), as_dict(payload.get("timings")))
        self.heard.usage, self.heard.cost_nano = self._report.usage, self._report.cost_nano
        if is_error(payload) and payload.get("error"):
            self.failed = payload
        self.over = True

    def _messages(self, payload: dict[str, Any]) -> None:
        kind = payload.get("type")
        if kind == "message_start":
            message = as_dict(payload.get("message"))
            self._identity(message)
            self._report.add(as_dict(message.get("usage")), begun=True)
        elif kind == "message_delta":
            self._report.add(as_dict(payload.get("usage")))
            self.heard.incomplete = as_dict(payload.get("delta")).get("stop_reason") == "max_tokens"
        elif kind == "message_stop":
            self.over = True
        elif kind == "error":
            self.failed, self.over = payload, True

    def _responses(self, payload: dict[str, Any]) -> None:
        kind, number = payload.get("type"), payload.get("sequence_number")
        if isinstance(number, int):
            self.sequence = max(self.sequence, number)
        if kind == "error":
            self.failed, self.over = payload, True
            return
        response = payload.get("response")
        if not isinstance(response, dict):
            return
        self.response = response
        self._identity(response)
        if kind in _ENDS:
            self._report.add(as_dict(response.get("usage")))
            self.over = True
            self.heard.incomplete = kind == "response.incomplete"
            if kind == "response.failed":
                self.failed = response

    def _chat(self, payload: dict[str, Any]) -> None:
        self._identity(payload)
        choice = as_dict(next(iter(as_list(payload.get("choices"))), None))
        elsewhere = as_dict(choice.get("usage")) or as_dict(as_dict(payload.get("x_groq")).get("usage"))
        self._report.add(as_dict(payload.get("usage")) or elsewhere, as_dict(payload.get("timings")))
        reason = choice.get("finish_reason")
        if payload.get("error"):
            self.failed, self.over = payload, True
        elif isinstance(reason, str) and reason:
            self.finished = True
            self.heard.incomplete = reason == "length"

    def _identity(self, said: dict[str, Any]) -> None:
        heard = self.heard
        heard.model_served = as_name(said.get("model")) or heard.model_served
        heard.provider = as_name(said.get("provider")) or heard.provider
        heard.generation_id = heard.generation_id or as_name(said.get("id")) or None


def with_payload(raw: bytes, payload: dict[str, Any]) -> bytes:
    """The event with other data; its name stays."""
    data = json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
    kept = [line for line in raw.replace(b"\r\n", b"\n").split(b"\n") if line and not line.startswith(b"data:")]
    return b"\n".join([*kept, b"data: " + data]) + b"\n\n"
