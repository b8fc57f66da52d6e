"""Reads the two forms of an emulated answer while they arrive: the answer's text as it grows, a tool call when it is whole."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Literal

from agent.llm.answers.calls import own_call_id
from agent.llm.dialects import emulate
from agent.llm.dialects.base import Decoder, Wrapper
from agent.llm.errors import EmptyAnswer, ModelError
from agent.llm.messages import Message, Part, TextPart, ToolCallPart
from agent.llm.request import Request
from agent.llm.stream import Reply, StreamEvent, TextDelta, ToolCallDelta
from agent.text import foreign_json

_FENCE = r"\s*(```\w*\s*)?"
_ANSWER = r"\{\s*\"answer\"\s*:\s*\""
_CALL = r"\{\s*\"tool\"\s*:\s*(\"(?:[^\"\\]|\\.)*\")\s*,\s*\"arguments\"\s*:\s*"
_ESCAPES = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


Kind = Literal["undecided", "answer", "object", "prose"]


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call that was read. `arguments` is the JSON text as the model wrote it."""

    name: str
    arguments: str


class Form:
    """One emulated answer, fed as text.

    `kind` is undecided until enough has arrived; then answer (its string is streamed), object (nothing is shown until it is
    whole) or prose (a model that ignored the form: taken as an answer).
    """

    def __init__(self) -> None:
        self.kind: Kind = "undecided"
        self.call: Call | None = None
        self.closed = False
        self._text = ""
        self._at = 0
        self._answer: list[str] = []

    @property
    def answer(self) -> str:
        """The answer so far. An object in neither form is its own text, so that nothing is lost."""
        if self.kind == "answer":
            return "".join(self._answer)
        if self.call or self.kind == "undecided":
            return ""
        return self._text.strip() if self.kind == "object" else self._text

    def feed(self, text: str) -> str:
        """More text. Returns what is new of the answer."""
        self._text += text
        undecided = self.kind == "undecided"
        kind = self._decide()
        if kind == "prose":
            return self._text if undecided else text
        if kind == "answer":
            return self._string()
        if kind == "object" and "}" in text and self.call is None:
            self._object()
            return self.answer if self.kind == "answer" else ""
        return ""

    def end(self) -> str:
        """No more text comes. Returns what is new of the answer."""
        undecided = self.kind == "undecided"
        kind = self._decide()
        if kind == "prose":
            return self._text if undecided else ""
        if kind == "object" and self.call is None:
            self._object()
            return self.answer
        return ""

    def _decide(self) -> Kind:
        if self.kind != "undecided":
            return self.kind
        match = re.match(_FENCE, self._text)
        start = match.end() if match else 0
        rest = self._text[start:]
        if not rest or rest in ("`", "``"):
            return self.kind
        if not rest.startswith("{"):
            self.kind = "prose"
        elif match := re.match(_ANSWER, rest):
            self.kind, self._at = "answer", start + match.end()
        elif not _may_become_answer(rest):
            self.kind, self._at = "object", start
        return self.kind

    def _string(self) -> str:
        """Decode the answer's string as far as it has come; an escape that is cut in two waits for its rest."""
        new: list[str] = []
        text, at = self._text, self._at
        while at < len(text) and not self.closed:
            char = text[at]
            if char == '"':
                self.closed = True
            elif char != "\\":
                new.append(char)
            else:
                decoded, length = _escape(text, at)
                if not length:
                    break
                new.append(decoded)
                at += length - 1
            at += 1
        self._at = at
        self._answer += new
        return "".join(new)

    def _object(self) -> None:
        try:
            value, end = foreign_json.decode_at(self._text, self._at, strict=False)
        except ValueError:
            return
        self.closed = True
        name = value.get("tool")
        if isinstance(name, str) and name:
            self.call = Call(name, self._arguments(value, end))
        elif "answer" in value:
            answer = value["answer"]
            self.kind = "answer"
            self._answer = [answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False)]

    def _arguments(self, value: dict[str, Any], end: int) -> str:
        """The arguments' own text where they stand in their usual place, so that they go back byte by byte."""
        written = self._text[self._at : end]
        match = re.match(_CALL, written)
        if match:
            arguments = written[match.end() : -1].strip()
            # Strict reading: raw line breaks in strings, and a third key after the arguments, don't pass.
            with suppress(ValueError):
                foreign_json.loads(arguments)
                return arguments
        return json.dumps(value.get("arguments", {}), ensure_ascii=False)


class EmulatedDecoder(Wrapper):
    """Wraps a dialect's decoder. Without tools in the request it changes nothing."""

    def __init__(self, decoder: Decoder, request: Request) -> None:
        """`request` is the one with the tools, as it was before `emulate` (the emulated one does as well)."""
        super().__init__(decoder)
        self._request = request
        named = request.schema is not None and request.schema.name == emulate.NAME
        self._active = named or emulate.is_active(request)
        self._form = Form()

    def feed(self, event: str, data: str) -> list[StreamEvent]:
        """One server-sent event."""
        return self._changed_all(lambda: self._inner.feed(event, data))

    def feed_body(self, body: bytes) -> list[StreamEvent]:
        """A whole body."""
        return self._changed_all(lambda: self._inner.feed_body(body))

    def finish(self) -> Reply:
        """The whole answer: text, or one tool call. Cut-off JSON gives the partial answer, marked incomplete."""
        try:
            reply = self._inner.finish()
        except ModelError as error:
            error.partial = self._converted(error.partial, incomplete=True)
            raise
        if not self._active:
            return reply
        form = _read(reply.message.text)
        cut = reply.message.incomplete or self._is_cut(form)
        message = self._converted(reply.message, incomplete=cut)
        if message is None or (not message.text.strip() and not message.tool_calls):
            raise EmptyAnswer(
                "the model gave an empty answer", remedy="try again, or a larger model", usage=reply.usage
            )
        if message.tool_calls:
            return replace(reply, message=message, finish="tool_calls")
        return replace(reply, message=message, finish="length" if cut else reply.finish)

    @property
    def partial(self) -> Message | None:
        """What has arrived so far, marked incomplete."""
        return self._converted(self._inner.partial, incomplete=True)

    def _changed_all(self, feed: Callable[[], list[StreamEvent]]) -> list[StreamEvent]:
        try:
            events = feed()
        except ModelError as error:
            error.partial = self._converted(error.partial, incomplete=True)
            raise
        return [changed for event in events for changed in self._changed(event)] if self._active else events

    def _changed(self, event: StreamEvent) -> list[StreamEvent]:
        if not isinstance(event, TextDelta):
            return [event]
        called = self._form.call
        text = self._form.feed(event.text)
        if self._form.call and not called:
            return [ToolCallDelta(0, self._form.call.name, self._form.call.arguments)]
        return [TextDelta(text)] if text else []

    def _is_cut(self, form: Form) -> bool:
        """The JSON did not close, or the grammar closed it at the bound."""
        if form.kind in ("undecided", "prose"):
            return False
        limit = emulate.bound(self._request)
        return not form.closed or (limit is not None and len(form.answer) >= limit)

    def _converted(self, message: Message | None, *, incomplete: bool) -> Message | None:
        """The message with its JSON text read: parts of other kinds stay, then the answer or the call.

        The text is read afresh, because a chunk that ends in an error brings text that was never streamed.
        """
        if message is None or not self._active:
            return message
        form = _read(message.text)
        others: list[Part] = [part for part in message.parts if not isinstance(part, TextPart)]
        if form.call:
            others.append(ToolCallPart(id=self._call_id(), name=form.call.name, arguments=form.call.arguments))
        elif form.answer:
            others.append(TextPart(text=form.answer))
        if not others:
            return None
        # A call that came whole is whole, even where the model was cut off after it.
        return replace(message, parts=tuple(others), incomplete=incomplete and form.call is None)

    def _call_id(self) -> str:
        """Made up from the place in the history: the same answer to the same request always gets the same id."""
        taken = {call.id for message in self._request.messages for call in message.tool_calls}
        return own_call_id(len(self._request.messages), 0, taken)


def _read(text: str) -> Form:
    form = Form()
    form.feed(text)
    form.end()
    return form


def _may_become_answer(text: str) -> bool:
    """True while a text that begins an object could still turn out to be the answer form."""
    squeezed = re.sub(r"\s+", "", text)
    return '{"answer":"'.startswith(squeezed)


def _escape(text: str, at: int) -> tuple[str, int]:
    """The escape at `at`: what it means and how many characters it takes; length 0 where it is not all there yet."""
    if at + 1 >= len(text):
        return "", 0
    kind = text[at + 1]
    if kind != "u":
        return _ESCAPES.get(kind, kind), 2
    if at + 6 > len(text):
        return "", 0
    code = _hex(text[at + 2 : at + 6])
    if code is None or not 0xD800 <= code < 0xE000:
        return ("\ufffd" if code is None else chr(code)), 6
    if code >= 0xDC00:
        return "\ufffd", 6
    # The first half of a surrogate pair: the second must follow.
    rest = text[at + 6 : at + 12]
    if len(rest) < 6 and "\\u".startswith(rest[:2]):
        return "", 0
    low = _hex(rest[2:]) if rest.startswith("\\u") else None
    if low is None or not 0xDC00 <= low < 0xE000:
        return "\ufffd", 6
    return chr(0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00)), 12


def _hex(digits: str) -> int | None:
    try:
        return int(digits, 16)
    except ValueError:
        return None
