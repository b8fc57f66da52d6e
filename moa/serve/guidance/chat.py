"""Bodies of Chat Completions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agent.llm.binding import is_bound
from agent.session.sent import NO_OUTPUT
from moa.serve.guidance.pieces import Piece, canonical, dicts, text, words_of
from moa.serve.guidance.wire import Answer, Bodies, Host, Item, with_more

_TEXTS = ("text", "input_text", "output_text", "refusal")


class ChatBodies(Bodies):
    """See `Wire`. Tool results are messages of role `tool` (or, long ago, `function`)."""

    name = "chat"

    def pieces(self, items: Sequence[Any], first: int = 0) -> list[Piece]:
        """Of each message its thoughts, its text, its images and its calls."""
        found: list[Piece] = []
        for at, item in enumerate(items, first):
            role = _role(item)
            if role in ("tool", "function"):
                words, _ = words_of(item.get("content"), _TEXTS)
                found.append(Piece(at, "tool", "result", words, text(item.get("tool_call_id")), text(item.get("name"))))
            elif role == "user":
                found += _content(at, item)
            elif role == "assistant":
                found += [*_thoughts(at, item), *_content(at, item), *_calls(at, item)]
        return found

    def hosts(self, items: Sequence[Any], stop: int) -> list[Host]:
        """The tool messages."""
        return [
            Host(at, None, text(items[at].get("tool_call_id")))
            for at in self.behind_reply(items, stop)
            if _role(items[at]) in ("tool", "function")
        ]

    def place(self, items: Sequence[Any], stop: int) -> int:
        """As it stands."""
        return stop

    def ends_with_results(self, items: Sequence[Any]) -> bool:
        """The last message is one."""
        return bool(items) and _role(items[-1]) in ("tool", "function")

    def with_end(self, item: Item, block: int | None, text: str) -> Item:
        """In the form that the content has."""
        content = item.get("content")
        if isinstance(content, list):
            said = words_of(content, _TEXTS)
            parts = content if said[0].strip() or said[1] else [*content, _text(NO_OUTPUT)]
            return {**item, "content": [*parts, _text(text)]}
        said_so = content if isinstance(content, str) and content.strip() else NO_OUTPUT
        return {**item, "content": said_so + text}

    def joined(self, item: Item, text: str) -> Item | None:
        """Behind the user's words."""
        if _role(item) != "user":
            return None
        return with_more(item, _text(text), text)

    def message(self, text: str) -> Item:
        """A user's."""
        return {"role": "user", "content": text}

    def without_thoughts(self, item: Item, *, all: bool) -> Item | None:
        """Without bound entries of `reasoning_details`, and the text that belongs to them."""
        details = item.get("reasoning_details")
        if _role(item) != "assistant" or not isinstance(details, list):
            return item
        kept = [detail for detail in details if not is_bound(detail)]
        if len(kept) == len(details):
            return item
        rest = {key: value for key, value in item.items() if key not in ("reasoning_details", "reasoning")}
        if kept:
            rest["reasoning_details"] = kept
        return rest if kept or rest.get("content") or rest.get("tool_calls") else None

    def answer(self) -> Answer:
        """For one answer."""
        return _Answer()


class _Answer:
    """The first choice: what a request for several becomes is the client's affair."""

    def __init__(self) -> None:
        self.response = ""
        self._text: list[str] = []
        self._calls: dict[str, None] = {}
        self._seals: dict[Any, str] = {}

    def event(self, payload: dict[str, Any]) -> None:
        for choice in dicts(payload.get("choices")):
            if choice.get("index", 0) == 0 and isinstance(choice.get("delta"), dict):
                self._add(choice["delta"])

    def whole(self, body: dict[str, Any]) -> None:
        for choice in dicts(body.get("choices"))[:1]:
            if isinstance(choice.get("message"), dict):
                self._add(choice["message"])

    def _add(self, delta: dict[str, Any]) -> None:
        self._text.append(words_of(delta.get("content"), _TEXTS)[0])
        for call in dicts(delta.get("tool_calls")):
            if name := text(call.get("id")):
                self._calls[name] = None
        for place, detail in enumerate(dicts(delta.get("reasoning_details"))):
            # A stream brings a thought in pieces under one index; its signature comes in one of them.
            key = (detail.get("index", place), detail.get("type"))
            self._seals[key] = self._seals.get(key, "") + (text(detail.get("signature")) or text(detail.get("data")))

    def items(self) -> list[Item]:
        said = "".join(self._text)
        calls = [{"id": name, "function": {}} for name in self._calls]
        details = [{"signature": seal} for seal in self._seals.values() if seal]
        if not (said or calls or details):
            return []
        return [{"role": "assistant", "content": said, "tool_calls": calls, "reasoning_details": details}]


def _content(at: int, item: Item) -> list[Piece]:
    role: Any = _role(item)
    words, others = words_of(item.get("content"), _TEXTS)
    found = [Piece(at, role, "text", words)] if words else []
    for part in dicts(others):
        kind: Any = "image" if "image" in text(part.get("type")) else "other"
        found.append(Piece(at, role, kind, canonical(part), name=text(part.get("type"))))
    return found


def _thoughts(at: int, item: Item) -> list[Piece]:
    readable = text(item.get("reasoning")) or text(item.get("reasoning_content"))
    found = [
        Piece(at, "assistant", "thought", text(detail.get("text")), seal)
        for detail in dicts(item.get("reasoning_details"))
        if (seal := text(detail.get("signature")) or text(detail.get("data")))
    ]
    return found or ([Piece(at, "assistant", "thought", readable)] if readable else [])


def _calls(at: int, item: Item) -> list[Piece]:
    found = []
    if isinstance(old := item.get("function_call"), dict):  # as it was before there were tools
        found.append(Piece(at, "assistant", "call", canonical(old.get("arguments", "")), name=text(old.get("name"))))
    for call in dicts(item.get("tool_calls")):
        given = call.get("function") or call.get("custom")
        function = given if isinstance(given, dict) else {}
        arguments = canonical(function.get("arguments", function.get("input", "")))
        found.append(Piece(at, "assistant", "call", arguments, text(call.get("id")), text(function.get("name"))))
    return found


def _role(item: Any) -> str:
    return text(item.get("role")) if isinstance(item, dict) else ""


def _text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}
