"""What a reply carries that another wire has no place for: signatures, sealed thoughts, a provider's own fields.

It stays here, under marks that the client brings back: the id of the reply's first tool call, or a token of ours that stands where the
client's wire has a signature. So a signed thought survives a round trip through a client that never saw it. What the client wrote is not
in here.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from agent.llm.messages import Message, Part, ReasoningPart, TextPart, ToolCallPart
from agent.llm.stream import Reply
from moa.serve.guidance.pieces import canonical

TOKEN = "moa1."
"""How our tokens begin: where a vendor has a signature, nobody else's begins so."""
_LEAST_TEXT = 24
# The last part of an id, as providers make them: twelve letters and more, a digit among them.
_CHANCE = re.compile(r"(?=[A-Za-z]*\d)[A-Za-z0-9]{12,}$")

Called = tuple[str, str, Any]
"""A call: its id, the tool's name, the arguments as JSON text or as a value."""


def new_mark() -> str:
    """A token for one reply."""
    return TOKEN + secrets.token_urlsafe(18)


def is_mark(value: object) -> bool:
    """Whether a signature is a token of ours."""
    return isinstance(value, str) and value.startswith(TOKEN)


def marks_of(message: Message, mark: str = "") -> list[str]:
    """All marks under which a reply is to be kept: its token, its calls, else its words."""
    return [
        *([mark] if mark else []),
        *by_content([(call.id, call.name, call.arguments) for call in message.tool_calls], message.text),
    ]


def by_content(calls: Iterable[Called], text: str) -> list[str]:
    """The marks that a reply has of itself: its calls, else its words. Short words say nothing of which reply it was."""
    marks = [_mark_of(id, name, arguments, text) for id, name, arguments in calls]
    if marks:
        return marks
    text = text.strip()
    return [f"text:{_digest(text)}"] if len(text) >= _LEAST_TEXT else []


def _mark_of(id: str, name: str, arguments: Any, text: str) -> str:
    """An id that is made of chance is enough. Some servers count (`call_0`, `functions.read:1`): what was called, and what was said, tell these
    apart."""
    if _CHANCE.search(id):
        return f"call:{id}"
    return f"call:{id}:{_digest(name, canonical(arguments), text.strip())}"


def _digest(*words: str) -> str:
    hashed = hashlib.blake2b(digest_size=16)
    for word in words:
        data = word.encode("utf-8", "replace")
        hashed.update(b"%d:" % len(data) + data)
    return hashed.hexdigest()


def kept_of(reply: Reply) -> Kept | None:
    """What is to be kept of a reply, to be stored under `marks_of`; None where the client's wire holds all of it."""
    return Kept.of(replace(reply.message, binding=reply.binding))


@dataclass(frozen=True, slots=True)
class Kept:
    """One reply's private parts: the message without its words and arguments. `lengths` are those of its texts, in characters."""

    message: Message
    lengths: tuple[int, ...] = ()

    @classmethod
    def of(cls, message: Message) -> Kept | None:
        """See `kept_of`. Thoughts are kept with their text: a client may cut them."""
        thoughts = any(isinstance(part, ReasoningPart) for part in message.parts)
        extras = any(isinstance(part, ToolCallPart) and part.extra for part in message.parts)
        if not (thoughts or extras or message.extra or message.binding):
            return None
        parts: list[Part] = []
        for part in message.parts:
            if isinstance(part, TextPart):
                # Blank ones are dropped by clients and refused by endpoints.
                parts += [TextPart(text="")] if part.text.strip() else []
            elif isinstance(part, ToolCallPart):
                parts.append(replace(part, arguments=""))
            else:
                parts.append(part)
        said = (part.text for part in message.parts if isinstance(part, TextPart))
        lengths = tuple(len(text) for text in said if text.strip())
        return cls(replace(message, parts=tuple(parts)), lengths)

    def plain(self) -> dict[str, Any]:
        """As JSON values."""
        message = self.message
        return {
            "origin": message.origin,
            "binding": message.binding,
            "extra": message.extra,
            "parts": [_plain(part) for part in message.parts],
            "lengths": list(self.lengths),
        }

    @classmethod
    def read(cls, plain: Mapping[str, Any]) -> Kept:
        """From `plain`."""
        parts = tuple(_part(part) for part in plain["parts"])
        own = {name: plain[name] for name in ("origin", "binding", "extra")}
        return cls(Message(role="assistant", parts=parts, **own), tuple(plain["lengths"]))

    def restored(self, came: Message) -> Message:
        """The reply as it was, from what the client sent back of it. A client that changed the words or left a call out gets what it
        sent, without the thoughts: these belong to another reply."""
        calls = {part.id: part for part in came.tool_calls}
        if [call.id for call in self.message.tool_calls] != list(calls):
            return came
        said = (part.text for part in came.parts if isinstance(part, TextPart))
        texts = self._texts([text for text in said if text.strip()])
        if texts is None:
            return came
        parts: list[Part] = []
        for part in self.message.parts:
            if isinstance(part, ReasoningPart):
                parts.append(part)
            elif isinstance(part, ToolCallPart):
                parts.append(replace(calls[part.id], extra=part.extra))
            else:
                parts.append(TextPart(text=next(texts)))
        own = self.message
        return replace(came, parts=tuple(parts), origin=own.origin, binding=own.binding, extra=own.extra)

    def _texts(self, came: list[str]) -> Iterator[str] | None:
        """The texts in their places. Some wires make one of them all."""
        if len(came) == len(self.lengths):
            return iter(came)
        whole = "".join(came)
        if len(whole) != sum(self.lengths):
            return None
        ends = [sum(self.lengths[: at + 1]) for at in range(len(self.lengths))]
        return (whole[end - length : end] for end, length in zip(ends, self.lengths, strict=True))


def _plain(part: Part) -> dict[str, Any]:
    if isinstance(part, ReasoningPart):
        return {"type": "reasoning", "text": part.text, "extra": part.extra}
    if isinstance(part, ToolCallPart):
        return {"type": "tool_call", "id": part.id, "name": part.name, "extra": part.extra}
    return {"type": "text"}


def _part(plain: Mapping[str, Any]) -> Part:
    if plain["type"] == "reasoning":
        return ReasoningPart(text=plain["text"], extra=plain["extra"])
    if plain["type"] == "tool_call":
        return ToolCallPart(id=plain["id"], name=plain["name"], arguments="", extra=plain["extra"])
    return TextPart(text="")
