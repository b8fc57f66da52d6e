"""Reads the Responses API's answers: its stream of typed events, or a whole response."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from agent.llm.answers.decoding import DecoderBase, alive
from agent.llm.answers.reading import as_dict, as_list, as_name, as_str
from agent.llm.dialects.responses_items import OWN, returns
from agent.llm.errors import ModelError, StreamBroken
from agent.llm.models.endpoint import Endpoint
from agent.llm.request import Request
from agent.llm.stream import Reply, StreamEvent

# The words of `response.error.code` that are no refusals of the request, beside those that every endpoint uses.
_BUSY = {"server_is_overloaded": 503, "slow_down": 503, "vector_store_timeout": 504}

_KINDS = {"message": "text", "reasoning": "reasoning", "function_call": "call"}


class ResponsesDecoder(DecoderBase):
    """One answer. Parts keep the order of their items; reasoning keeps the whole item that goes back."""

    def __init__(self, request: Request, endpoint: Endpoint) -> None:
        super().__init__(request, endpoint)
        self._notes: dict[Hashable, dict[str, Any]] = {}
        self._summary: dict[Hashable, object] = {}

    def event(self, name: str, payload: dict[str, Any]) -> list[StreamEvent]:
        """One typed event. Events of other kinds than ours yield nothing."""
        kind = as_str(payload.get("type")) or name
        if kind == "error" or (payload.get("error") and not kind.startswith("response.")):
            raise self.answer.break_off(self._error(payload))
        if not kind.startswith("response.") and (error := self.error_in(payload)):
            raise self.answer.break_off(error)
        if not kind.startswith("response.") and isinstance(payload.get("output"), list):
            return self.whole(payload)  # all of it in one event
        return self._event(kind.removeprefix("response."), payload)

    def whole(self, payload: dict[str, Any]) -> list[StreamEvent]:
        """A response that was not streamed."""
        return self._end(payload, as_str(payload.get("status")))

    def is_answer(self, payload: dict[str, Any]) -> bool:
        """A response has output, or failed as one; an event of a stream names its kind."""
        failed = payload.get("status") == "failed" and payload.get("object") == "response"
        return isinstance(payload.get("output"), list) or failed or as_str(payload.get("type")).startswith("response.")

    def finish(self) -> Reply:
        """The whole answer. Raises StreamBroken where the response did not come to its end, EmptyAnswer where nothing was said."""
        notes = [self._notes.get(key) for key, piece in self.answer.pieces() if piece.kind == "text" and piece.text]
        if any(notes):
            self.answer.extra[OWN] = notes
        return self.answer.reply()

    def _event(self, kind: str, payload: dict[str, Any]) -> list[StreamEvent]:
        key, delta = _key(payload), as_str(payload.get("delta"))
        if kind in ("created", "in_progress", "queued"):
            self._identity(as_dict(payload.get("response")))
        elif kind in ("completed", "done", "incomplete", "failed", "cancelled"):
            response = as_dict(payload.get("response"))
            return self._end(response, as_str(response.get("status")) or kind)
        elif kind == "output_item.added":
            return self._begin(key, as_dict(payload.get("item")))
        elif kind == "output_item.done":
            return self._item(key, as_dict(payload.get("item")))
        elif kind == "output_text.delta":
            return self.answer.text(key, delta)
        elif kind == "refusal.delta":
            return self.answer.refusal(key, delta)
        elif kind in ("reasoning_summary_text.delta", "reasoning_text.delta"):
            return self._thought(key, payload.get("summary_index"), delta)
        elif kind == "function_call_arguments.delta" and self.answer.find(key):
            return self.answer.call(key, delta)
        return alive([], delta)

    def _thought(self, key: Hashable, part: object, delta: str) -> list[StreamEvent]:
        """The parts of a summary are paragraphs."""
        begun, self._summary[key] = self._summary.get(key, part), part
        return self.answer.reasoning(key, f"\n\n{delta}" if begun != part and delta else delta)

    def _begin(self, key: Hashable, item: dict[str, Any]) -> list[StreamEvent]:
        """Parts keep the order in which their items begin, whatever order their words come in."""
        kind = item.get("type")
        if kind == "function_call":
            return self.answer.call(
                key, as_str(item.get("arguments")), id=_call_id(item), name=as_name(item.get("name"))
            )
        if kind in ("message", "reasoning"):
            self.answer.piece(key, "text" if kind == "message" else "reasoning")
        return []

    def _item(self, key: Hashable, item: dict[str, Any]) -> list[StreamEvent]:
        """An item as it is in the end: what did not come in pieces comes now, and what goes back with the next request is kept."""
        events = self._begin(key, {**item, "arguments": ""})
        self._sources(item)
        piece, kind = self.answer.find(key), item.get("type")
        if piece is None or piece.kind != _KINDS.get(as_str(kind)):
            return events
        whole = _whole(item)
        rest = whole.removeprefix(piece.text) if whole.startswith(piece.text) else ""
        if kind == "function_call":
            if as_name(item.get("id")):
                piece.extra = {OWN: {"id": as_name(item.get("id"))}}
            return events + (self.answer.call(key, rest) if rest else [])
        if kind == "reasoning":
            piece.extra = item if returns(item) else None
            return events + self.answer.reasoning(key, rest)
        self._notes[key] = {name: item[name] for name in ("id", "phase") if isinstance(item.get(name), str)}
        for part in as_list(item.get("content")):
            self.answer.cite(as_dict(part).get("annotations"))
        if any(as_dict(part).get("type") == "refusal" for part in as_list(item.get("content"))):
            self.answer.finish = "refusal"
            return events + self.answer.refusal(key, rest)
        return events + self.answer.text(key, rest)

    def _sources(self, item: dict[str, Any]) -> None:
        """What a search of the provider's found."""
        if item.get("type") == "web_search_call":
            for found in map(as_dict, as_list(as_dict(item.get("action")).get("sources"))):
                self.answer.found(found.get("url"), found.get("title"))

    def _identity(self, response: dict[str, Any]) -> None:
        answer = self.answer
        answer.generation_id = answer.generation_id or as_name(response.get("id")) or None
        answer.model_served = as_name(response.get("model")) or answer.model_served
        answer.provider = as_name(response.get("provider")) or answer.provider

    def _end(self, response: dict[str, Any], status: str) -> list[StreamEvent]:
        self._identity(response)
        self.answer.transformed(response.get("input_transformations"))
        events: list[StreamEvent] = []
        for index, item in enumerate(map(as_dict, as_list(response.get("output")))):
            named = as_name(item.get("id"))
            events += self._item(named if self.answer.find(named) else index, item)
        self.answer.report.add(as_dict(response.get("usage")))
        if status in ("failed", "cancelled", "error"):
            raise self.answer.break_off(self._error(response, status))
        if status in ("completed", "done", "incomplete", ""):
            reason = as_name(as_dict(response.get("incomplete_details")).get("reason"))
            self.answer.end(reason or "completed")
            # Whatever the reason is called, there is more that was not said.
            if status == "incomplete" and self.answer.finish == "stop":
                self.answer.finish = "length"
        return events

    def _error(self, payload: dict[str, Any], status: str = "failed") -> ModelError:
        """`{error: {code, message}}`, or an event that is itself the error. A code that nobody knows is a refusal, not a broken stream."""
        if not payload.get("error") and not as_str(payload.get("message")):
            return StreamBroken(f"the provider ended the answer with {status!r}", remedy="try again")
        envelope = payload if payload.get("error") else {"error": payload}
        from agent.llm.refusals.refusal import error_in_stream, error_of  # most answers have no error

        named = error_in_stream(envelope, self.endpoint)
        error = as_dict(envelope["error"])
        code = as_str(error.get("code"))
        if isinstance(named, StreamBroken) and code:
            return error_of(error, _BUSY.get(code, 400), endpoint=self.endpoint)
        return named


def _key(payload: dict[str, Any]) -> Hashable:
    """The item that an event belongs to: by its place in the output, or where a server leaves that out, by its id."""
    index = payload.get("output_index")
    if isinstance(index, int) and not isinstance(index, bool):
        return index
    return as_name(payload.get("item_id")) or as_name(as_dict(payload.get("item")).get("id"))


def _call_id(item: dict[str, Any]) -> str | None:
    return as_name(item.get("call_id")) or as_name(item.get("id")) or None


def _whole(item: dict[str, Any]) -> str:
    """All that an item says, as it would have come in pieces."""
    if item.get("type") == "function_call":
        return as_str(item.get("arguments"))
    if item.get("type") == "reasoning":
        parts = as_list(item.get("summary")) or as_list(item.get("content"))
        return "\n\n".join(as_str(as_dict(part).get("text")) for part in parts)
    parts = [as_dict(part) for part in as_list(item.get("content"))]
    return "".join(as_str(part.get("text")) or as_str(part.get("refusal")) for part in parts)
