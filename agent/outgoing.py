"""Events on their way out of a turn: no configured key leaves in one, not even in pieces."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from agent.events import AgentEvent, ReasoningDeltaEvent, SideProgress, TextDeltaEvent, ToolProgress
from agent.llm.messages import ImagePart
from agent.text.cleaning import harmless
from agent.text.secrets import redact, unfinished

# What a field of these names holds is a word of ours, whatever somebody's key may be.
_OURS = frozenset({"type", "role", "source", "kind", "state", "status", "outcome", "level", "code", "session", "turn"})


MOST_HELD = 4096
"""Characters of a text that is held back, as it came; beyond, what steers a terminal is left out of it: there may be any amount between two letters."""


class Redaction(NamedTuple):
    """How keys are taken out. `whole` takes them out of a text; `unfinished` says how many characters at a text's end may be the
    beginning of one."""

    whole: Callable[[str], str] = lambda text: text
    unfinished: Callable[[str], int] = lambda _text: 0

    @classmethod
    def of(cls, spelled: Sequence[str]) -> Redaction:
        """For keys in all their `spellings`."""

        def whole(text: str) -> str:
            text = redact(text, spelled)
            if text.endswith("…") and (end := unfinished(text[:-1], spelled)):
                text = text[: -end - 1] + "…"  # what was cut may have been one
            return text

        return cls(whole, lambda text: unfinished(text, spelled))

    def value(self, value: Any) -> Any:
        """The same value (dataclasses, plain JSON) without keys in its texts; the same object where it had none."""
        if isinstance(value, str):
            return self.whole(value)
        if isinstance(value, ImagePart):  # no text: it could only be broken
            return value
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return self._parts(value)
        if isinstance(value, dict):
            return {self.value(key): item if key in _OURS else self.value(item) for key, item in value.items()}
        if isinstance(value, tuple):
            return tuple(self.value(item) for item in value)
        return [self.value(item) for item in value] if isinstance(value, list) else value

    def _parts(self, value: Any) -> Any:
        changed = {}
        for field in dataclasses.fields(value):
            before = getattr(value, field.name)
            if field.name in _OURS or not field.init:
                continue
            if (after := self.value(before)) is not before and after != before:
                changed[field.name] = after
        return replace(value, **changed) if changed else value


class Outgoing:
    """One stream of events. A text that comes in pieces is held back as long as its end may be the beginning of a key."""

    def __init__(self, redaction: Redaction) -> None:
        self._redaction = redaction
        self._held: dict[str, tuple[TextDeltaEvent | ReasoningDeltaEvent | ToolProgress, str]] = {}

    def events(self, event: AgentEvent) -> Iterator[AgentEvent]:
        """What goes out for an event: it, without keys, and before it what was held back until now."""
        match event:
            case TextDeltaEvent() | ReasoningDeltaEvent() | ToolProgress():
                yield from self._piece(event)
            case SideProgress():
                words = self._redaction.whole(event.last_words)
                if end := self._redaction.unfinished(words):
                    words = words[:-end]
                yield event if words == event.last_words else replace(event, last_words=words)
            case _:
                for held, text in self._held.values():
                    yield replace(held, text=text)
                self._held.clear()
                yield self._redaction.value(event)

    def _piece(self, event: TextDeltaEvent | ReasoningDeltaEvent | ToolProgress) -> Iterator[AgentEvent]:
        stream = f"{event.type} {event.source} {event.id if isinstance(event, ToolProgress) else ''}"
        _, held = self._held.pop(stream, (event, ""))
        text = self._redaction.whole(held + event.text)
        if end := self._redaction.unfinished(text):
            kept = text[-end:]
            self._held[stream] = event, kept if len(kept) <= MOST_HELD else harmless(kept)
            text = text[:-end]
        if text:
            yield event if text == event.text else replace(event, text=text)
