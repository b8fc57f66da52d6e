"""The body of a request, read: from the socket with a bound on its time and size, and as JSON with one on how many values it has.

All that a server does with a body takes time for each value in it, and one process serves everybody. So a body of more values than any
conversation has is refused before it is parsed, and what is done with a large one is done in a thread, in turns between the keys.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from functools import cache
from typing import Any, TypeVar

from agent.ledger.fair_thread import FairThread
from agent.llm.errors import BadRequest
from agent.llm.net.alarm import Alarm
from agent.text import foreign_json

T = TypeVar("T")

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

BODY_S = 120.0
"""So long a client may take to send its request."""
MOST_VALUES = 100_000
"""Of a body. The longest conversations of coding agents have a tenth of it."""
MOST_MESSAGES = 15_000
"""Of a conversation, or items (Responses). Each costs the event loop about 20 µs, more where a panel reads it or it is translated."""
LARGE_BYTES = 2**20
MANY_VALUES = 5_000
"""From either on the event loop does not wait for what is done with a body."""
MOST_NAME = 256
"""Characters of a model's name: it stands in figures, logs and the ledger for good."""
NAMED = f"a name has at most {MOST_NAME} characters, all of which can be printed"
_SHORT = 10_000
"""Bytes in which there are not so many."""


class Gone(Exception):
    """The client has left."""


async def read_body(receive: Receive, headers: Mapping[str, str], most: int) -> bytes:
    """The body. Raises BadRequest (413, 408) and Gone."""
    length = headers.get("content-length", "")
    if length.isdecimal() and int(length) > most:
        raise _too_large(most)
    pieces: list[bytes] = []
    size, alarm = 0, Alarm()
    deadline = asyncio.get_running_loop().time() + BODY_S
    try:
        while True:
            message = await alarm.bound(receive(), deadline)
            if message["type"] == "http.disconnect":
                raise Gone
            piece = message.get("body", b"")
            size += len(piece)
            if size > most:
                raise _too_large(most)
            pieces.append(piece)
            if not message.get("more_body"):
                return pieces[0] if len(pieces) == 1 else b"".join(pieces)
    except TimeoutError:
        raise BadRequest(f"the request did not come within {BODY_S:g} seconds", status=408) from None
    finally:
        alarm.stop()


async def aside(raw: bytes, work: Callable[[], T]) -> T:
    """Do something with a request of these bytes that touches nothing else: a large one's in a thread, in turn with those of other keys."""
    if len(raw) < LARGE_BYTES and not has_many(raw):
        return work()
    return await asyncio.get_running_loop().run_in_executor(_thread(), work)


def has_many(raw: bytes) -> bool:
    """Whether a request may have so many values that a walk over them takes long."""
    return len(raw) > _SHORT and raw.count(b",") > MANY_VALUES


@cache
def _thread() -> FairThread:
    return FairThread("large requests")


def read_object(raw: bytes) -> dict[str, Any]:
    """The body as JSON. Raises BadRequest."""
    if _has_too_many(raw):
        raise BadRequest(
            f"the request has more than {MOST_VALUES} values", status=413, remedy="compact the conversation"
        )
    try:
        body = foreign_json.loads(raw, unique=True)  # the endpoint gets these very bytes, and reads them itself
    except ValueError as error:
        raise BadRequest(f"the request is not JSON: {error}", status=400) from None
    if not isinstance(body, dict):
        raise BadRequest("the request is not a JSON object", status=400)
    if any(isinstance(body.get(key), list) and len(body[key]) > MOST_MESSAGES for key in ("messages", "input")):
        raise BadRequest(
            f"the request has more than {MOST_MESSAGES} messages", status=413, remedy="compact the conversation"
        )
    return body


def is_name(text: str) -> bool:
    """Whether a model can be called so."""
    return len(text) <= MOST_NAME and text.isprintable()


def _has_too_many(raw: bytes) -> bool:
    """Whether it has more values than may be, by what stands before each of them. What stands in a text is none; but that is only looked
    at where all together is too much."""
    if len(raw) <= MOST_VALUES or _marks(raw) <= MOST_VALUES:
        return False
    bare = raw.replace(b"\\\\", b"").replace(b'\\"', b"")
    if bare.count(b'"') > 8 * MOST_VALUES:
        return True
    return sum(map(_marks, bare.split(b'"')[::2])) > MOST_VALUES


def _marks(text: bytes) -> int:
    return text.count(b",") + text.count(b"{") + text.count(b"[")


def _too_large(most: int) -> BadRequest:
    return BadRequest(
        f"the request is larger than {most // 2**20} MB",
        status=413,
        remedy="compact the conversation, or raise body_mb under [serve] in config.toml",
    )
