"""A decoder that counts what passes through it: whether a model lives is told by what it says, not by what is shown of it.

Emulated tool calls are the case in point: while a model writes one, nothing is shown until it is whole, and that may take minutes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.llm.dialects.base import Wrapper
from agent.llm.stream import Alive, ReasoningDelta, TextDelta, ToolCallDelta

if TYPE_CHECKING:
    from agent.llm.dialects.base import Decoder
    from agent.llm.stream import StreamEvent


class Overheard(Wrapper):
    """Passes everything on but signs of life. `events` counts semantic events, those included, `characters` what the model wrote."""

    def __init__(self, inner: Decoder) -> None:
        super().__init__(inner)
        self.events = 0
        self.characters = 0

    def feed(self, event: str, data: str) -> list[StreamEvent]:
        """One server-sent event."""
        return self._count(self._inner.feed(event, data))

    def feed_body(self, body: bytes) -> list[StreamEvent]:
        """A whole body."""
        return self._count(self._inner.feed_body(body))

    def _count(self, events: list[StreamEvent]) -> list[StreamEvent]:
        self.events += len(events)
        alive = False
        for event in events:
            if isinstance(event, TextDelta) or isinstance(event, ReasoningDelta):  # noqa: SIM101 - a tuple is looked through for longer
                self.characters += len(event.text)
            elif isinstance(event, ToolCallDelta):
                self.characters += len(event.arguments)
            elif isinstance(event, Alive):
                alive = True
        return [event for event in events if not isinstance(event, Alive)] if alive else events
