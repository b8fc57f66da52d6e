"""Reads the Messages API's answers: its stream of typed events, or a whole message."""

from __future__ import annotations

import json
from collections.abc import Hashable
from typing import Any

from agent.llm.answers.calls import is_whole
from agent.llm.answers.decoding import DecoderBase, alive
from agent.llm.answers.reading import as_dict, as_list, as_name, as_str
from agent.llm.models.endpoint import Endpoint
from agent.llm.request import Request
from agent.llm.stream import StreamEvent

_KINDS = {
    "text_delta": "text",
    "thinking_delta": "reasoning",
    "signature_delta": "reasoning",
    "input_json_delta": "call",
}


class AnthropicDecoder(DecoderBase):
    """One answer. Parts keep the order of their blocks; thinking keeps its signature.

    A start begins a new block, whatever index it gives, and so does a delta of another kind than its block: servers that speak this
    format without being Anthropic's count their blocks wrongly, or not at all.
    """

    def __init__(self, request: Request, endpoint: Endpoint) -> None:
        super().__init__(request, endpoint)
        self._blocks: dict[str, tuple[Hashable, str]] = {}
        self._last: tuple[Hashable, str] = (None, "none")
        self._count = 0
        self._given: set[Hashable] = set()

    def event(self, name: str, payload: dict[str, Any]) -> list[StreamEvent]:
        """One typed event. Pings and unknown types yield nothing."""
        kind = as_str(payload.get("type")) or name
        if kind == "error" and not payload.get("error"):
            payload = {"error": payload}
        if kind != "content_block_delta" and (error := self.error_in(payload)):
            raise self.answer.break_off(error)
        if kind == "message" and isinstance(payload.get("content"), list):
            return self.whole(payload)  # all of it in one event
        if kind == "message_start":
            self._begin(as_dict(payload.get("message")), whole=False)
        elif kind == "content_block_start":
            return self._block(payload.get("index"), as_dict(payload.get("content_block")), whole=False)
        elif kind == "content_block_delta":
            return self._delta(payload.get("index"), as_dict(payload.get("delta")))
        elif kind == "message_delta":
            self.answer.report.add(as_dict(payload.get("usage")))
            self._end(as_dict(payload.get("delta")))
        return []

    def whole(self, payload: dict[str, Any]) -> list[StreamEvent]:
        """A message that was not streamed."""
        self._begin(payload, whole=True)
        events: list[StreamEvent] = []
        for index, block in enumerate(as_list(payload.get("content"))):
            events += self._block(index, as_dict(block), whole=True)
        self.answer.report.add(as_dict(payload.get("usage")))
        self._end(payload)
        return events

    def is_answer(self, payload: dict[str, Any]) -> bool:
        """A message has content; an event of a stream has a type that is none of an error."""
        kind = as_str(payload.get("type"))
        return isinstance(payload.get("content"), list) or kind.startswith(("message", "content_block", "ping"))

    def _begin(self, message: dict[str, Any], *, whole: bool) -> None:
        answer = self.answer
        answer.generation_id = as_name(message.get("id")) or None
        answer.model_served = as_name(message.get("model")) or None
        answer.transformed(message.get("input_transformations"))
        if not whole:
            answer.report.add(as_dict(message.get("usage")), begun=True)

    def _block(self, index: object, block: dict[str, Any], *, whole: bool) -> list[StreamEvent]:
        answer, kind = self.answer, block.get("type")
        if kind == "text":
            answer.cite(block.get("citations"))
            return answer.text(self._new(index, "text"), as_str(block.get("text")))
        if kind == "thinking":
            key = self._new(index, "reasoning")
            piece = answer.piece(key, "reasoning")
            if block.get("signature"):
                piece.extra = {"type": "thinking", "signature": block["signature"]}
            return answer.reasoning(key, as_str(block.get("thinking")))
        if kind == "redacted_thinking":
            answer.piece(self._new(index, "reasoning"), "reasoning").extra = dict(block)
            return alive([], True)
        if kind == "tool_use":
            key = self._new(index, "call")
            # A stream begins with an empty input and sends it as text afterwards.
            given = block.get("input")
            arguments = json.dumps(given, ensure_ascii=False) if given or whole else ""
            if given and not whole:
                self._given.add(key)
            return answer.call(
                key, arguments, id=as_name(block.get("id")) or None, name=as_name(block.get("name")) or None
            )
        if kind == "web_search_tool_result":
            for found in map(as_dict, as_list(block.get("content"))):
                answer.found(found.get("url"), found.get("title"))
        self._new(index, "other")
        return alive([], kind)

    def _delta(self, index: object, delta: dict[str, Any]) -> list[StreamEvent]:
        if delta.get("type") == "citations_delta":
            self.answer.cite([delta.get("citation")])
            return alive([], True)
        kind = _KINDS.get(as_str(delta.get("type")))
        key = None if kind is None else self._key(index, kind)
        if key is None:
            return alive([], delta)
        answer = self.answer
        if kind == "text":
            return answer.text(key, as_str(delta.get("text")))
        if kind == "call":
            if key in self._given:  # the arguments stood in the start already, and come once more
                self._given.discard(key)
                answer.piece(key, "call").chunks.clear()
            return answer.call(key, as_str(delta.get("partial_json")))
        if "signature" in delta:
            piece = answer.piece(key, "reasoning")
            signature = as_str((piece.extra or {}).get("signature")) + as_str(delta.get("signature"))
            piece.extra = {"type": "thinking", "signature": signature}
            return alive([], signature)
        return answer.reasoning(key, as_str(delta.get("thinking")))

    def _new(self, index: object, kind: str) -> Hashable:
        self._count += 1
        key = ("block", self._count)
        self._blocks[str(index)] = self._last = (key, kind)
        return key

    def _key(self, index: object, kind: str) -> Hashable | None:
        """The block that a delta belongs to; None where it is a piece of a call that nobody began."""
        key, its_kind = self._blocks.get(str(index), self._last)
        if its_kind == kind:
            return key
        if kind != "call":
            return self._new(index, kind)
        calls = [found for found, piece in self.answer.pieces() if piece.kind == "call" and not is_whole(piece.text)]
        return calls[-1] if calls and its_kind != "other" else None

    def _end(self, delta: dict[str, Any]) -> None:
        details = as_dict(delta.get("stop_details"))
        words = as_str(details.get("explanation")) or as_name(details.get("category"))
        self.answer.end(as_name(delta.get("stop_reason")), words=words)
