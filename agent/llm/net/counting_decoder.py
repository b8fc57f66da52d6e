"""A decoder that counts what passes through it: whether a model lives is told by what it says, not by what is shown of it.

Emulated tool calls are the case in point: while a model writes one, nothing is shown until it is whole, and that may take minutes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from agent.llm.stream import Alive, ReasoningDelta, TextDelta, ToolCallDelta

if TYPE_CHECKING:
    from agent.llm.dialects.base import Decoder
    from agent.llm.messages import Message
    from agent.llm.stream import Reply, StreamEvent, Usage


class Overheard:
    """Passes everything on but signs of life. `events` counts semantic events, those included, `characters` what the model wrote."""

    def __init__(self, inner: Decoder) -> None:
        self.events = 0
        self.characters = 0
        self._inner = inner

    def headers(self, headers: Mapping[str, str]) -> None:
        """As the wrapped decoder."""
        self._inner.headers(headers)

    def feed(self, event: str, data: str) -> list[StreamEvent]:
        """As the wrapped decoder."""
        return self._count(self._inner.feed(event, data))

    def feed_body(self, body: bytes) -> list[StreamEvent]:
        """As the wrapped decoder."""
        return self._count(self._inner.feed_body(body))

    def finish(self) -> Reply:
        """As the wrapped decoder."""
        return self._inner.finish()

    @property
    def partial(self) -> Message | None:
        """As the wrapped decoder."""
        return self._inner.partial

    @property
    def usage(self) -> Usage | None:
        """As the wrapped decoder."""
        return self._inner.usage

    @property
    def generation_id(self) -> str | None:
        """As the wrapped decoder."""
        return self._inner.generation_id

    def _count(self, events: list[StreamEvent]) -> list[StreamEvent]:
        self.events += len(events)
        for event in events:
            if isinstance(event, TextDelta | ReasoningDelta):
                self.characters += len(event.text)
            elif isinstance(event, ToolCallDelta):
                self.characters += len(event.arguments)
        return [event for event in events if not isinstance(event, Alive)]
