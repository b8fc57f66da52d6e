"""The Messages wire as clients speak it: Claude Code, and Anthropic's own libraries."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from typing import Any

from agent.llm.answers.calls import is_whole
from agent.llm.dialects.history import arguments_object
from agent.llm.errors import ModelError
from agent.llm.messages import ReasoningPart, TextPart, ToolCallPart
from agent.llm.stream import Citation, Reply, StreamEvent
from moa.serve.wires import messages_reading, usage
from moa.serve.wires.citing import search_result_location
from moa.serve.wires.errors import ending, fault_of
from moa.serve.wires.kept import new_mark
from moa.serve.wires.parts import Begin, More, Sequence, Step
from moa.serve.wires.reading import listed, reply_marks
from moa.serve.wires.wire import Asked, Encoder, Target

_STOPS = {"stop": "end_turn", "tool_calls": "tool_use", "length": "max_tokens", "refusal": "refusal"}


class MessagesWire:
    """See `ClientWire`."""

    name = "messages"
    dialect = "anthropic"
    sign = b'event: ping\ndata: {"type":"ping"}\n\n'

    def marks(self, body: dict[str, Any]) -> list[str]:
        """Of each reply: what stands where its signatures do, then its calls or its words."""
        marks: list[str] = []
        for item in listed(body.get("messages")):
            if item.get("role") != "assistant":
                continue
            content = item.get("content")
            blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
            blocks = listed(blocks)
            text = "".join(str(block.get("text") or "") for block in blocks if block.get("type") == "text")
            uses = [block for block in blocks if block.get("type") == "tool_use"]
            calls = [(block.get("id"), block.get("name"), block.get("input") or {}) for block in uses]
            marks += reply_marks(messages_reading.tokens_of(blocks), calls, text)
        return marks

    def read(self, body: dict[str, Any], target: Target) -> Asked:
        """The request. Raises Unsayable."""
        return messages_reading.read(body, target)

    def encoder(self, model: str, body: dict[str, Any]) -> Encoder:
        """For one streamed answer."""
        return _Stream(model, body)

    def whole(
        self, reply: Reply, model: str, body: dict[str, Any], mark: str = "", usage: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """A message."""
        content: list[dict[str, Any]] = []
        for part in reply.message.parts:
            if isinstance(part, TextPart) and part.text.strip():
                content.append({"type": "text", "text": part.text})
            elif isinstance(part, ReasoningPart) and part.text.strip():
                thinking = "" if _is_silent(body) else part.text
                content.append({"type": "thinking", "thinking": thinking, "signature": mark or new_mark()})
            elif isinstance(part, ToolCallPart) and (reply.finish != "length" or is_whole(part.arguments)):
                given = arguments_object(part.arguments)
                content.append({"type": "tool_use", "id": part.id, "name": part.name, "input": given})
        texts = [block for block in content if block["type"] == "text"]
        if reply.citations and texts:
            texts[-1]["citations"] = [search_result_location(cited) for cited in reply.citations]
        return {**_head(model), "content": content, **_end(_STOPS[reply.finish]), "usage": _usage(reply, body, usage)}

    def refused(
        self, error: BaseException, model: str, body: dict[str, Any], usage: Mapping[str, Any] | None = None
    ) -> dict[str, Any] | None:
        """`stop_reason` refusal, or max_tokens where these were used up before a word was said."""
        stop = ending(error)
        if stop is None or not isinstance(error, ModelError):
            return None
        text = error.partial.text if error.partial is not None else ""
        content = [{"type": "text", "text": text}] if text.strip() else []
        return {**_head(model), "content": content, **_end(_STOPS[stop]), "usage": _usage_of(error, body, usage)}

    def error(self, error: BaseException) -> tuple[int, dict[str, Any], dict[str, str]]:
        """The envelope of type error."""
        fault = fault_of(error)
        return fault.status, fault.messages, fault.headers

    def count(self, tokens: int) -> dict[str, Any]:
        """As `count_tokens` answers."""
        return {"input_tokens": tokens}


class _Stream:
    """message_start, blocks one after the other, message_delta, message_stop; an error event instead of the last two."""

    def __init__(self, model: str, body: dict[str, Any]) -> None:
        self.mark = new_mark()
        self._model = model
        self._body = body
        self._silent = _is_silent(body)
        self._parts = Sequence()
        self._cited: tuple[Citation, ...] = ()
        self._begun = self._over = False

    def start(self) -> bytes:
        """`message_start`, which has no usage yet: all of it comes with `message_delta`."""
        if self._begun:
            return b""
        self._begun = True
        message = {**_head(self._model), "content": [], "stop_reason": None, "stop_sequence": None}
        none = {"input_tokens": 0, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 0}
        return _event("message_start", {"message": {**message, "usage": none}})

    def feed(self, event: StreamEvent) -> bytes:
        """Blocks, one after the other."""
        if self._over:
            return b""
        said = b"".join(map(self._step, self._parts.feed(event)))
        return self.start() + said if said else b""

    def alive(self) -> bytes:
        """`ping`."""
        return b"" if self._over else self.start() + _event("ping", {})

    def end(self, reply: Reply, usage: Mapping[str, Any] | None = None) -> bytes:
        """`message_delta` with why it stopped and what it took, and `message_stop`."""
        if self._over:
            return b""
        try:
            rest = self._parts.finish(reply)
        except ModelError as error:
            return self.fail(error, usage)
        self._cited = reply.citations
        said = b"".join(map(self._step, rest))
        return self.start() + said + self._close(_STOPS[reply.finish], _usage(reply, self._body, usage))

    def fail(self, error: BaseException, usage: Mapping[str, Any] | None = None) -> bytes:
        """The error event. A block that is open stays open."""
        if self._over:
            return b""
        stop = ending(error)
        if stop is not None and isinstance(error, ModelError):
            head = self.start()
            ends = b"".join(map(self._step, self._parts.close()))
            return head + ends + self._close(_STOPS[stop], _usage_of(error, self._body, usage))
        self._over = True
        return _event("error", {"error": fault_of(error).messages["error"]})

    def _close(self, stop: str, said: dict[str, Any]) -> bytes:
        self._over = True
        delta = {"stop_reason": stop, "stop_sequence": None}
        return _event("message_delta", {"delta": delta, "usage": said}) + _event("message_stop", {})

    def _step(self, step: Step) -> bytes:
        kind, at = step.part.kind, step.at
        if isinstance(step, Begin):
            blocks: dict[str, dict[str, Any]] = {
                "text": {"type": "text", "text": ""},
                "reasoning": {"type": "thinking", "thinking": "", "signature": ""},
                "call": {"type": "tool_use", "id": step.part.id, "name": step.part.name, "input": {}},
            }
            return _event("content_block_start", {"index": at, "content_block": blocks[kind]})
        if isinstance(step, More):
            if kind == "reasoning" and self._silent:
                return b""
            deltas = {
                "text": {"type": "text_delta", "text": step.text},
                "reasoning": {"type": "thinking_delta", "thinking": step.text},
                "call": {"type": "input_json_delta", "partial_json": step.text},
            }
            return _event("content_block_delta", {"index": at, "delta": deltas[kind]})
        # Clients run a call as soon as its block stops.
        end = _event("content_block_stop", {"index": at}) if step.whole else b""
        if kind == "text":
            # They are known at the end, when the last block is still open.
            cited, self._cited = self._cited, ()
            named = [{"type": "citations_delta", "citation": search_result_location(source)} for source in cited]
            return b"".join(_event("content_block_delta", {"index": at, "delta": delta}) for delta in named) + end
        if kind != "reasoning":
            return end
        signed = {"type": "signature_delta", "signature": self.mark}
        return _event("content_block_delta", {"index": at, "delta": signed}) + end


def _event(kind: str, fields: dict[str, Any]) -> bytes:
    data = json.dumps({"type": kind, **fields}, ensure_ascii=False, separators=(",", ":"))
    return f"event: {kind}\ndata: {data}\n\n".encode()


def _head(model: str) -> dict[str, Any]:
    return {"id": f"msg_{secrets.token_hex(12)}", "type": "message", "role": "assistant", "model": model}


def _end(stop: str) -> dict[str, Any]:
    return {"stop_reason": stop, "stop_sequence": None}


def _is_silent(body: dict[str, Any]) -> bool:
    """Whether the client asks for no word of the thoughts."""
    thinking = body.get("thinking")
    return isinstance(thinking, dict) and thinking.get("display") == "omitted"


def _usage(reply: Reply, body: dict[str, Any], more: Mapping[str, Any] | None) -> dict[str, Any]:
    return usage.messages(usage.usage_of(reply.usage, reply.message, body), more)


def _usage_of(error: ModelError, body: dict[str, Any], more: Mapping[str, Any] | None) -> dict[str, Any]:
    return usage.messages(usage.usage_of(error.usage, error.partial, body), more)
