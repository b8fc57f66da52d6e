"""Reads the Messages API's answers: its stream of typed events, or a whole message."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from agent.llm.dialects.collect import Collector, finish_reason
from agent.llm.dialects.reading import (
    as_count,
    as_dict,
    as_list,
    as_name,
    as_str,
    error_in_stream,
    events_of,
    first_object,
    is_event_stream,
)
from agent.llm.endpoint import Endpoint
from agent.llm.errors import StreamBroken
from agent.llm.messages import Message
from agent.llm.request import Request
from agent.llm.stream import Reply, StreamEvent, Usage


class AnthropicDecoder:
    """One answer. Parts keep the order of their blocks; thinking keeps its signature."""

    def __init__(self, request: Request, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._answer = Collector(request)
        self._counts: dict[str, int] = {}

    def headers(self, headers: Mapping[str, str]) -> None:
        """The message's own id says all; headers carry nothing more that is needed."""

    def feed(self, event: str, data: str) -> list[StreamEvent]:
        """One server-sent event. Pings and unknown types yield nothing."""
        try:
            payload = json.loads(data) if data.strip() else None
        except (ValueError, RecursionError):
            if data.lstrip().startswith("{"):
                raise self._answer.break_off(StreamBroken("the endpoint sent a damaged event")) from None
            return []
        if not isinstance(payload, dict):
            return []
        kind = as_str(payload.get("type")) or event
        if kind == "error" or (payload.get("error") and kind != "content_block_delta"):
            raise self._answer.break_off(error_in_stream(payload, self._endpoint))
        if kind == "message_start":
            self._begin(as_dict(payload.get("message")))
        elif kind == "content_block_start":
            return self._block(payload.get("index"), as_dict(payload.get("content_block")), whole=False)
        elif kind == "content_block_delta":
            return self._delta(payload.get("index"), as_dict(payload.get("delta")))
        elif kind == "message_delta":
            self._usage(as_dict(payload.get("usage")))
            self._finish(as_name(as_dict(payload.get("delta")).get("stop_reason")))
        return []

    def feed_body(self, body: bytes) -> list[StreamEvent]:
        """A whole message, or a stream that came under another content type."""
        text = body.decode("utf-8", "replace")
        if is_event_stream(text):
            return [event for name, data in events_of(text) for event in self.feed(name, data)]
        message = first_object(text)
        if message is None:
            raise self._answer.break_off(StreamBroken("the answer is not JSON", remedy="check the endpoint's base_url"))
        if message.get("error"):
            raise self._answer.break_off(error_in_stream(message, self._endpoint))
        self._begin(message)
        events: list[StreamEvent] = []
        for index, block in enumerate(as_list(message.get("content"))):
            events += self._block(index, as_dict(block), whole=True)
        self._finish(as_name(message.get("stop_reason")))
        return events

    def finish(self) -> Reply:
        """The whole answer. Raises StreamBroken where no stop reason came, EmptyAnswer where nothing was said."""
        return self._answer.reply()

    @property
    def partial(self) -> Message | None:
        """What has arrived so far, marked incomplete."""
        return self._answer.partial()

    @property
    def usage(self) -> Usage | None:
        """What the endpoint has reported so far."""
        return self._answer.usage

    @property
    def generation_id(self) -> str | None:
        """The message's id."""
        return self._answer.generation_id

    def _begin(self, message: dict[str, Any]) -> None:
        answer = self._answer
        answer.generation_id = as_name(message.get("id")) or None
        answer.model_served = as_name(message.get("model")) or None
        self._usage(as_dict(message.get("usage")))

    def _block(self, index: object, block: dict[str, Any], *, whole: bool) -> list[StreamEvent]:
        answer, key, kind = self._answer, ("block", str(index)), block.get("type")
        if kind == "text":
            return answer.text(key, as_str(block.get("text")))
        if kind == "thinking":
            piece = answer.piece(key, "reasoning")
            if block.get("signature"):
                piece.extra = {"type": "thinking", "signature": block["signature"]}
            return answer.reasoning(key, as_str(block.get("thinking")))
        if kind == "redacted_thinking":
            answer.piece(key, "reasoning").extra = dict(block)
            return []
        if kind == "tool_use":
            # A stream begins with an empty input and sends it as text afterwards.
            given = block.get("input")
            arguments = json.dumps(given, ensure_ascii=False) if given or whole else ""
            return answer.call(
                key, arguments, id=as_name(block.get("id")) or None, name=as_name(block.get("name")) or None
            )
        return []

    def _delta(self, index: object, delta: dict[str, Any]) -> list[StreamEvent]:
        answer, key, kind = self._answer, ("block", str(index)), delta.get("type")
        if kind == "text_delta":
            return answer.text(key, as_str(delta.get("text")))
        if kind == "thinking_delta":
            return answer.reasoning(key, as_str(delta.get("thinking")))
        if kind == "signature_delta":
            piece = answer.piece(key, "reasoning")
            signature = as_str((piece.extra or {}).get("signature")) + as_str(delta.get("signature"))
            piece.extra = {"type": "thinking", "signature": signature}
        if kind == "input_json_delta" and answer.find(key):
            return answer.call(key, as_str(delta.get("partial_json")))
        return []

    def _finish(self, word: str) -> None:
        if not word:
            return
        finish = finish_reason(word)
        if finish is None:
            raise self._answer.break_off(
                StreamBroken(f"the provider ended the answer with {word!r}", remedy="try again")
            )
        self._answer.finish = finish

    def _usage(self, usage: dict[str, Any]) -> None:
        """Counts are cumulative, and later events repeat only some of them. `input_tokens` leave out what the cache read or wrote."""
        if not usage:
            return
        thinking = as_dict(usage.get("output_tokens_details")).get("thinking_tokens")
        for name, value in {**usage, "thinking_tokens": thinking}.items():
            if isinstance(value, int):
                self._counts[name] = as_count(value)
        cached = self._counts.get("cache_read_input_tokens", 0)
        written = self._counts.get("cache_creation_input_tokens", 0)
        self._answer.usage = Usage(
            prompt=self._counts.get("input_tokens", 0) + cached + written,
            cached=cached,
            cache_write=written,
            completion=self._counts.get("output_tokens", 0),
            reasoning=self._counts.get("thinking_tokens", 0),
        )
