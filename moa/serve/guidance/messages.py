"""Bodies of the Messages API."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agent.llm.binding import is_bound
from agent.session.sent import NO_OUTPUT
from moa.serve.guidance.pieces import REMINDERS, Piece, canonical, dicts, text, words_of
from moa.serve.guidance.wire import Answer, Bodies, Host, Item

_THOUGHTS = ("thinking", "redacted_thinking")


class MessagesBodies(Bodies):
    """See `Wire`. Tool results are blocks of a user message."""

    name = "messages"

    def pieces(self, items: Sequence[Any], first: int = 0) -> list[Piece]:
        """Blocks, each a piece."""
        found: list[Piece] = []
        for at, item in enumerate(items, first):
            if not isinstance(item, dict) or item.get("role") not in ("user", "assistant"):
                continue
            content = item.get("content")
            if isinstance(content, str):
                found.append(Piece(at, item["role"], "text", content))
                continue
            found += [_piece(at, item["role"], block) for block in dicts(content)]
        return found

    def hosts(self, items: Sequence[Any], stop: int) -> list[Host]:
        """The `tool_result` blocks."""
        return [
            Host(at, number, text(block.get("tool_use_id")))
            for at in self.behind_reply(items, stop)
            if _role(items[at]) == "user" and isinstance(items[at].get("content"), list)
            for number, block in enumerate(items[at]["content"])
            if isinstance(block, dict) and block.get("type") == "tool_result"
        ]

    def place(self, items: Sequence[Any], stop: int) -> int:
        """Before system messages in the middle: these must stand right behind a user's turn and directly before a reply, or at the end."""
        while stop and _role(items[stop - 1]) == "system":
            stop -= 1
        return stop

    def ends_with_results(self, items: Sequence[Any]) -> bool:
        """Of the last message, the last block that is no reminder."""
        stop = self.place(items, len(items))
        last = items[stop - 1] if stop else None
        if _role(last) != "user" or not isinstance((last or {}).get("content"), list):
            return False
        for block in reversed(dicts((last or {})["content"])):
            if block.get("type") == "tool_result":
                return True
            if block.get("type") != "text" or not text(block.get("text")).lstrip().startswith(REMINDERS):
                return False
        return False

    def with_end(self, item: Item, block: int | None, text: str) -> Item:
        """A text block inside of the result's content."""
        assert block is not None
        content = list(item["content"])
        result = content[block]
        said = _as_blocks(result.get("content"))
        if not any(part.get("type") != "text" or str(part.get("text", "")).strip() for part in dicts(said)):
            said = [*said, _text(NO_OUTPUT)]
        content[block] = {**result, "content": [*said, _text(text)]}
        return {**item, "content": content}

    def joined(self, item: Item, text: str) -> Item | None:
        """One more text block."""
        if _role(item) != "user":
            return None
        return {**item, "content": [*_as_blocks(item.get("content")), _text(text)]}

    def message(self, text: str) -> Item:
        """The API reads consecutive user messages as one turn."""
        return {"role": "user", "content": [_text(text)]}

    def without_thoughts(self, item: Item, *, all: bool) -> Item | None:
        """Without `thinking` and `redacted_thinking` blocks."""
        content = item.get("content")
        if _role(item) != "assistant" or not isinstance(content, list):
            return item
        kept = [
            block
            for block in content
            if not (is_bound(block) or (all and isinstance(block, dict) and block.get("type") in _THOUGHTS))
        ]
        if len(kept) == len(content):
            return item
        return {**item, "content": kept} if kept else None

    def answer(self) -> Answer:
        """For one answer."""
        return _Answer()


class _Answer:
    def __init__(self) -> None:
        self.response = ""
        self._blocks: dict[Any, dict[str, Any]] = {}

    def event(self, payload: dict[str, Any]) -> None:
        kind = payload.get("type")
        if kind == "content_block_start" and isinstance(payload.get("content_block"), dict):
            self._blocks[payload.get("index")] = _kept(payload["content_block"])
        elif kind == "content_block_delta" and isinstance(payload.get("delta"), dict):
            block = self._blocks.get(payload.get("index"))
            if block is None:
                return
            for key in ("text", "signature"):
                if isinstance(more := payload["delta"].get(key), str):
                    block[key] = text(block.get(key)) + more

    def whole(self, body: dict[str, Any]) -> None:
        self._blocks = dict(enumerate(map(_kept, dicts(body.get("content")))))

    def items(self) -> list[Item]:
        return [{"role": "assistant", "content": list(self._blocks.values())}] if self._blocks else []


def _kept(block: dict[str, Any]) -> dict[str, Any]:
    return {key: block[key] for key in ("type", "id", "text", "signature", "data") if key in block}


def _piece(at: int, role: Any, block: dict[str, Any]) -> Piece:
    kind = text(block.get("type"))
    if kind == "text":
        return Piece(at, role, "text", text(block.get("text")))
    if kind == "tool_result":
        words, others = words_of(block.get("content"), ("text",))
        more = "".join(f"\n[{part.get('type', 'part')}]" for part in dicts(others))
        failed = block.get("is_error") is True
        return Piece(at, "tool", "result", words + more, text(block.get("tool_use_id")), is_error=failed)
    if kind in _THOUGHTS:
        seal = text(block.get("signature")) or text(block.get("data"))
        return Piece(at, role, "thought", text(block.get("thinking")), seal)
    if kind.endswith("tool_use"):  # the client's, and the vendor's own
        arguments = canonical(block.get("input", {}))
        return Piece(at, role, "call", arguments, text(block.get("id")), text(block.get("name")))
    if kind == "image":
        return Piece(at, role, "image", canonical(block.get("source")))
    return Piece(at, role, "other", canonical(block), text(block.get("tool_use_id")), kind)


def _role(item: Any) -> str:
    return text(item.get("role")) if isinstance(item, dict) else ""


def _text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def _as_blocks(content: Any) -> list[Any]:
    """A content as a list: a client that writes it as a string today may write it as a list tomorrow, and it is the same."""
    if isinstance(content, list):
        return content
    return [_text(content)] if isinstance(content, str) and content else []
