"""`moa run --input-format stream-json`: one message a line on standard input, each a turn of the same conversation.

A line is `{"type": "user", "text": "…", "images": [{"media_type": "image/png", "data": "base64"}]}`, or `{"type": "user", "message":
{"role": "user", "content": …}}` with a text or content blocks, as other agents take it. `{"type": "interrupt"}` stops the turn that runs.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any, TextIO

from agent.errors import UsageError
from agent.llm.messages import ImagePart, Message, TextPart
from agent.text import foreign_json
from agent.text.images import KINDS, media_type_of

FORM = '{"type": "user", "text": "…"} or {"type": "interrupt"}, one a line'
LONGEST = 32_000_000
"""Characters of a line: a few images."""


class StreamInput:
    """The messages, in order, as they come. `interrupt` is called on the event loop as soon as a line asks for it."""

    def __init__(self, stream: TextIO, interrupt: Callable[[], None]) -> None:
        self._stream = stream
        self._interrupt = interrupt
        self._queue: asyncio.Queue[Message | UsageError | None] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        # A thread of its own: one that waits for a line can't be stopped, and must not hold up the end of the program.
        threading.Thread(target=self._read, name="stream-json input", daemon=True).start()

    async def messages(self) -> AsyncIterator[Message]:
        """Until standard input ends. Raises UsageError for a line that can't be understood."""
        while (found := await self._queue.get()) is not None:
            if isinstance(found, UsageError):
                raise found
            yield found

    def _read(self) -> None:
        number = 0
        try:
            while line := self._stream.readline(LONGEST):
                number += 1
                if not line.strip():
                    continue
                try:
                    message = parse(line)
                except UsageError as error:
                    self._put(UsageError(f"line {number} of standard input: {error.message}", remedy=error.remedy))
                    return
                if message is None:
                    self._loop.call_soon_threadsafe(self._interrupt)
                else:
                    self._put(message)
        except (OSError, ValueError):  # it was closed
            pass
        except RuntimeError:  # the loop is over
            return
        self._put(None)

    def _put(self, what: Message | UsageError | None) -> None:
        try:
            self._loop.call_soon_threadsafe(self._queue.put_nowait, what)
        except RuntimeError:  # the loop is over
            return


def parse(line: str) -> Message | None:
    """The message of a line; None for an interrupt. Raises UsageError."""
    try:
        value = foreign_json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"it is no JSON ({error})"[:200], remedy=FORM) from None
    kind = value.get("type") if isinstance(value, dict) else None
    if kind == "interrupt":
        return None
    if kind != "user":
        raise UsageError(f"its type is {str(kind)[:40]!r}", remedy=FORM)
    inner = value.get("message")
    content = inner.get("content") if isinstance(inner, dict) else value.get("text", "")
    parts = [*_parts(content), *(_image(each) for each in _list(value.get("images")))]
    if not any(isinstance(part, ImagePart) or part.text.strip() for part in parts):
        raise UsageError("it says nothing", remedy=FORM)
    return Message(role="user", parts=tuple(parts))


def _parts(content: Any) -> list[TextPart | ImagePart]:
    if isinstance(content, str):
        return [TextPart(text=content)] if content else []
    found: list[TextPart | ImagePart] = []
    for block in _list(content):
        if isinstance(block, dict) and block.get("type") == "text" and isinstance(block.get("text"), str):
            found.append(TextPart(text=block["text"]))
        elif isinstance(block, dict) and block.get("type") == "image":
            found.append(_image(block.get("source")))
        else:
            name = block.get("type") if isinstance(block, dict) else type(block).__name__
            raise UsageError(f"a block of the type {str(name)[:40]!r} is not taken", remedy="text and image blocks are")
    return found


def _image(value: Any) -> ImagePart:
    data = value.get("data") if isinstance(value, dict) else None
    kind = value.get("media_type") if isinstance(value, dict) else None
    if not isinstance(data, str) or not isinstance(kind, str):
        raise UsageError("an image needs media_type and data", remedy='{"media_type": "image/png", "data": "base64"}')
    if (found := media_type_of(data)) is None:
        raise UsageError(f"an image's data is no {KINDS} in base64", remedy="encode the file as it is")
    return ImagePart(media_type=found, data=data)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]
