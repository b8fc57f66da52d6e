"""Bodies of the Responses API."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agent.llm.binding import is_sealed
from agent.session.sent import NO_OUTPUT
from moa.serve.guidance.pieces import Piece, canonical, dicts, text, words_of
from moa.serve.guidance.wire import Answer, Bodies, Host, Item, with_more

_TEXTS = ("input_text", "output_text", "text", "refusal", "summary_text", "reasoning_text")
_OF_THE_CLIENT = frozenset({"function_call_output", "custom_tool_call_output"})
_NOT_SAID = frozenset({"additional_tools", "compaction_trigger"})


class ResponsesBodies(Bodies):
    """See `Wire`. A reply is a run of items: thoughts, messages, calls."""

    name = "responses"
    key = "input"

    def items(self, body: dict[str, Any]) -> list[Any]:
        """The input; a bare string is one user message."""
        found = body.get("input")
        return [{"role": "user", "content": found}] if isinstance(found, str) else super().items(body)

    def is_of_reply(self, item: Any) -> bool:
        """A thought, a call, or a message of the model's."""
        return _is_of_a_reply(item)

    def pieces(self, items: Sequence[Any], first: int = 0) -> list[Piece]:
        """Items, each a piece; a message its text and its images."""
        return [piece for at, item in enumerate(items, first) if isinstance(item, dict) for piece in _pieces(at, item)]

    def hosts(self, items: Sequence[Any], stop: int) -> list[Host]:
        """The outputs of calls."""
        between = self.behind_reply(items, stop)
        return [Host(at, None, text(items[at].get("call_id"))) for at in between if _takes_text(items[at])]

    def place(self, items: Sequence[Any], stop: int) -> int:
        """As it stands."""
        return stop

    def ends_with_results(self, items: Sequence[Any]) -> bool:
        """The last item is one, and takes text."""
        return bool(items) and _takes_text(items[-1])

    def with_end(self, item: Item, block: int | None, text: str) -> Item:
        """In the form that the output has."""
        output = item.get("output")
        if isinstance(output, list):
            words, others = words_of(output, _TEXTS)
            parts = output if words.strip() or others else [*output, _text(NO_OUTPUT)]
            return {**item, "output": [*parts, _text(text)]}
        said = output if isinstance(output, str) and output.strip() else NO_OUTPUT
        return {**item, "output": said + text}

    def joined(self, item: Item, text: str) -> Item | None:
        """Behind the user's words."""
        if _kind(item) != "message" or item.get("role") != "user":
            return None
        return with_more(item, _text(text), text)

    def message(self, text: str) -> Item:
        """A user's."""
        return {"type": "message", "role": "user", "content": [_text(text)]}

    def without_thoughts(self, item: Item, *, all: bool) -> Item | None:
        """Sealed items are bound to the account alone, so they go back always; but for those that an endpoint has refused (`all`)."""
        return None if all and is_sealed(item) else item

    def answer(self) -> Answer:
        """For one answer."""
        return _Answer()


class _Answer:
    def __init__(self) -> None:
        self.response = ""
        self._items: dict[Any, Item] = {}
        self._count = 0

    def event(self, payload: dict[str, Any]) -> None:
        kind, place = text(payload.get("type")), payload.get("output_index")
        if kind in ("response.output_item.added", "response.output_item.done"):
            if isinstance(payload.get("item"), dict):
                self._items[place] = payload["item"]
        elif kind == "response.output_text.delta" and place in self._items:
            item = self._items[place]  # not done yet, and perhaps never: the words so far
            said = words_of(item.get("content"), _TEXTS)[0] + text(payload.get("delta"))
            self._items[place] = {**item, "content": [{"type": "output_text", "text": said}]}
        elif kind in ("response.completed", "response.incomplete", "response.failed"):
            response = payload.get("response")
            if isinstance(response, dict):
                self.whole(response)

    def whole(self, body: dict[str, Any]) -> None:
        self.response = text(body.get("id"))
        if output := dicts(body.get("output")):
            self._items = dict(enumerate(output))

    def items(self) -> list[Item]:
        return list(self._items.values())


def _kind(item: Any) -> str:
    if not isinstance(item, dict):
        return ""
    return text(item.get("type")) or ("message" if "role" in item else "")


def _is_result(item: Any) -> bool:
    return _kind(item).endswith("_output") and "output" in item


def _takes_text(item: Any) -> bool:
    """Whether text may be the end of it. What a vendor's own tools give back has a form of its own (screenshots, streams of a shell)."""
    return _is_result(item) and (isinstance(item["output"], str) or _kind(item) in _OF_THE_CLIENT)


def _is_of_a_reply(item: Any) -> bool:
    kind = _kind(item)
    if kind == "message":
        return bool(item.get("role") == "assistant")
    return kind in ("reasoning", "item_reference", "compaction") or kind.endswith("_call")


def _pieces(at: int, item: Item) -> list[Piece]:
    kind, own = _kind(item), text(item.get("id"))
    if kind == "message":
        return _message(at, item, own)
    if kind == "reasoning":
        words = words_of(item.get("summary"), _TEXTS)[0] or words_of(item.get("content"), _TEXTS)[0]
        return [Piece(at, "assistant", "thought", words, text(item.get("encrypted_content")), item=own)]
    if _is_result(item):
        words, others = words_of(item["output"], _TEXTS)
        more = "".join(f"\n[{part.get('type', 'part')}]" for part in dicts(others))
        if isinstance(item["output"], dict):
            words = canonical(item["output"])
        return [Piece(at, "tool", "result", words + more, text(item.get("call_id")), item=own)]
    if kind.endswith("_call"):  # the client's, and the vendor's own
        arguments = canonical(item.get("arguments", item.get("input", item.get("action", ""))))
        name = text(item.get("name")) or kind.removesuffix("_call")
        return [Piece(at, "assistant", "call", arguments, text(item.get("call_id")), name, own)]
    if not kind or kind in _NOT_SAID:
        return []
    role: Any = "assistant" if _is_of_a_reply(item) else "user"
    return [Piece(at, role, "other", canonical({**item, "id": None}), name=kind, item=own)]


def _message(at: int, item: Item, own: str) -> list[Piece]:
    role: Any = item.get("role")
    if role not in ("user", "assistant"):
        return []
    words, others = words_of(item.get("content"), _TEXTS)
    found = [Piece(at, role, "text", words, item=own)] if words else []
    for part in dicts(others):
        kind: Any = "image" if "image" in text(part.get("type")) else "other"
        found.append(Piece(at, role, kind, canonical(part), name=text(part.get("type")), item=own))
    return found


def _text(words: str) -> dict[str, Any]:
    return {"type": "input_text", "text": words}
