"""The Chat Completions wire as clients speak it: pi, opencode, aider, Open WebUI, and nearly everybody else."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Mapping
from typing import Any

from agent.llm.errors import ModelError, StreamBroken
from agent.llm.messages import Message
from agent.llm.stream import ReasoningDelta, Reply, Retrying, StreamEvent, TextDelta, ToolCallDelta
from moa.serve.wires import chat_reading, usage
from moa.serve.wires.citing import url_citation
from moa.serve.wires.errors import ending, fault_of
from moa.serve.wires.kept import new_mark
from moa.serve.wires.parts import BEGAN_TWICE
from moa.serve.wires.reading import listed, reply_marks
from moa.serve.wires.wire import Asked, Encoder, Target

_STOPS = {"stop": "stop", "tool_calls": "tool_calls", "length": "length", "refusal": "content_filter"}


class ChatWire:
    """See `ClientWire`."""

    name = "chat"
    dialect = "chat"
    sign = b'data: {"id":"","object":"chat.completion.chunk","created":0,"model":"","choices":[]}\n\n'

    def marks(self, body: dict[str, Any]) -> list[str]:
        """Of each reply: the tokens in its reasoning details, then its calls or its words."""
        marks: list[str] = []
        for item in listed(body.get("messages")):
            if item.get("role") != "assistant":
                continue
            content, calls = item.get("content"), item.get("tool_calls")
            parts = content if isinstance(content, list) else []
            text = content if isinstance(content, str) else "".join(map(_text, parts))
            marks += reply_marks(chat_reading.tokens_of(item), map(_called, listed(calls)), text)
        return marks

    def read(self, body: dict[str, Any], target: Target) -> Asked:
        """The request. Raises Unsayable."""
        return chat_reading.read(body, target)

    def encoder(self, model: str, body: dict[str, Any]) -> Encoder:
        """For one streamed answer."""
        return _Stream(model, body)

    def whole(
        self, reply: Reply, model: str, body: dict[str, Any], mark: str = "", usage: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """A completion of one choice."""
        message = reply.message
        said: dict[str, Any] = {"role": "assistant", "content": message.text or None, "refusal": None}
        if message.reasoning and not _is_silent(body):
            said["reasoning_content"] = message.reasoning
        if message.reasoning:
            said["reasoning_details"] = [_detail(mark or new_mark(), message)]
        if reply.citations:
            said["annotations"] = _annotations(reply)
        if message.tool_calls:
            said["tool_calls"] = [
                {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
                for call in message.tool_calls
            ]
        return _completion(model, said, _STOPS[reply.finish], _usage(reply, body, usage))

    def refused(
        self, error: BaseException, model: str, body: dict[str, Any], usage: Mapping[str, Any] | None = None
    ) -> dict[str, Any] | None:
        """`finish_reason` content_filter with the words of the refusal, or length where no word was said."""
        end = ending(error)
        if end is None or not isinstance(error, ModelError):
            return None
        text = error.partial.text if error.partial is not None else ""
        said: dict[str, Any] = {"role": "assistant", "content": text or None, "refusal": None}
        if end == "refusal":
            said["refusal"] = text or error.message
        return _completion(model, said, _STOPS[end], _usage_of(error, body, usage))

    def error(self, error: BaseException) -> tuple[int, dict[str, Any], dict[str, str]]:
        """OpenAI's envelope."""
        fault = fault_of(error)
        return fault.status, fault.openai, fault.headers

    def count(self, tokens: int) -> dict[str, Any]:
        """This wire has no such question."""
        return {"input_tokens": tokens}


class _Stream:
    """Chunks: the role first, a finish reason last, the usage where it is asked for, `[DONE]`; an error chunk instead of the end."""

    def __init__(self, model: str, body: dict[str, Any]) -> None:
        self.mark = new_mark()
        self._head = {
            "id": f"chatcmpl-{secrets.token_hex(12)}",
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": model,
        }
        self._body = body
        options = body.get("stream_options")
        self._tells_usage = bool(isinstance(options, dict) and options.get("include_usage"))
        self._silent = _is_silent(body)
        self._begun = self._over = False
        self._said = ""
        self._thought = self._restarted = False
        self._calls: dict[int, ToolCallDelta] = {}
        self._sent: dict[int, str] = {}

    def start(self) -> bytes:
        """The chunk with the role."""
        if self._begun:
            return b""
        self._begun = True
        return self._chunk({"role": "assistant", "content": ""})

    def feed(self, event: StreamEvent) -> bytes:
        """One chunk an event."""
        if self._over:
            return b""
        if isinstance(event, Retrying):
            self._restarted = self._restarted or bool(self._said or self._thought or self._calls)
        if isinstance(event, TextDelta):
            self._said += event.text
            return self.start() + self._chunk({"content": event.text})
        if isinstance(event, ReasoningDelta):
            self._thought = True
            return self.start() + (b"" if self._silent else self._chunk({"reasoning_content": event.text}))
        if isinstance(event, ToolCallDelta):
            said = self._call(event)
            return self.start() + said if said else b""
        return b""

    def alive(self) -> bytes:
        """A chunk that says nothing: strict clients stumble over comments."""
        return b"" if self._over else self.start() or self._chunk({})

    def end(self, reply: Reply, usage: Mapping[str, Any] | None = None) -> bytes:
        """What has not come in pieces, the finish reason, the usage, `[DONE]`."""
        if self._over:
            return b""
        try:
            rest = self._rest(reply)
        except StreamBroken as error:
            return self.fail(error, usage)
        return self.start() + rest + self._close(_STOPS[reply.finish], _usage(reply, self._body, usage))

    def fail(self, error: BaseException, usage: Mapping[str, Any] | None = None) -> bytes:
        """An error chunk, as OpenRouter documents it and OpenAI's clients raise it. No `[DONE]` follows."""
        if self._over:
            return b""
        end = ending(error)
        if end is not None and isinstance(error, ModelError):
            refusal = self._chunk({"refusal": error.message}) if end == "refusal" and not self._said else b""
            return self.start() + refusal + self._close(_STOPS[end], _usage_of(error, self._body, usage))
        self._over = True
        fault = fault_of(error).openai["error"]
        return _event({**self._head, "choices": [_choice({}, "error")], "error": fault})

    def _call(self, event: ToolCallDelta) -> bytes:
        """A call begins when its id and name are known; until then its pieces wait."""
        index, known = event.index, self._calls.get(event.index)
        if known is None or index not in self._sent:
            before = known or ToolCallDelta(index, None, "")
            known = ToolCallDelta(
                index, before.name or event.name, before.arguments + event.arguments, before.id or event.id
            )
            self._calls[index] = known
            if not (known.id and known.name):
                return b""
            return self._begin(known)
        self._calls[index] = ToolCallDelta(index, known.name, known.arguments + event.arguments, known.id)
        self._sent[index] += event.arguments
        more = {"index": index, "function": {"arguments": event.arguments}}
        return self._chunk({"tool_calls": [more]}) if event.arguments else b""

    def _begin(self, call: ToolCallDelta) -> bytes:
        self._sent[call.index] = call.arguments
        function = {"name": call.name, "arguments": call.arguments}
        return self._chunk(
            {"tool_calls": [{"index": call.index, "id": call.id, "type": "function", "function": function}]}
        )

    def _rest(self, reply: Reply) -> bytes:
        if self._restarted:
            raise StreamBroken(BEGAN_TWICE)
        said = b""
        text = reply.message.text
        if reply.message.reasoning and not (self._thought or self._said or self._sent):  # it came as a whole
            said += self.feed(ReasoningDelta(reply.message.reasoning))
        if text.startswith(self._said) and len(text) > len(self._said):
            said += self._chunk({"content": text[len(self._said) :]})
        calls = reply.message.tool_calls
        for index, call in enumerate(calls):
            sent, known = self._sent.get(index), self._calls.get(index)
            if sent is None or known is None:
                said += self._begin(ToolCallDelta(index, call.name, call.arguments, call.id))
            elif known.id != call.id or not (call.arguments.startswith(sent) or call.arguments.strip() == sent.strip()):
                raise StreamBroken("the provider's tool calls came mixed up, and were in part sent already")
            elif more := call.arguments[len(sent) :]:
                said += self._chunk({"tool_calls": [{"index": index, "function": {"arguments": more}}]})
        if any(index >= len(calls) for index in self._sent):
            raise StreamBroken("the provider's tool calls came mixed up, and were in part sent already")
        if reply.citations:
            said += self._chunk({"annotations": _annotations(reply)})
        if self._thought:
            said += self._chunk({"reasoning_details": [_detail(self.mark, reply.message)]})
        return said

    def _close(self, stop: str, said: dict[str, Any]) -> bytes:
        self._over = True
        end = _event({**self._head, "choices": [_choice({}, stop)]})
        told = _event({**self._head, "choices": [], "usage": said}) if self._tells_usage else b""
        return end + told + b"data: [DONE]\n\n"

    def _chunk(self, delta: dict[str, Any]) -> bytes:
        return _event({**self._head, "choices": [_choice(delta, None)]})


def _event(chunk: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(chunk, ensure_ascii=False, separators=(',', ':'))}\n\n".encode()


def _choice(delta: dict[str, Any], finish: str | None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}


def _completion(model: str, message: dict[str, Any], finish: str, said: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{secrets.token_hex(12)}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish}],
        "usage": said,
    }


def _detail(mark: str, message: Message) -> dict[str, Any]:
    """Our token, where clients look for sealed thoughts; pi keeps those whose id is a call's."""
    id = message.tool_calls[0].id if message.tool_calls else mark
    return {"type": "reasoning.encrypted", "id": id, "data": mark, "format": "moa-v1", "index": 0}


def _annotations(reply: Reply) -> list[dict[str, Any]]:
    return [{"type": "url_citation", "url_citation": url_citation(cited)} for cited in reply.citations]


def _is_silent(body: dict[str, Any]) -> bool:
    """Whether the client asks for no word of the thoughts (OpenRouter's words for it)."""
    reasoning = body.get("reasoning")
    return body.get("include_reasoning") is False or (isinstance(reasoning, dict) and reasoning.get("exclude") is True)


def _called(call: dict[str, Any]) -> tuple[Any, Any, Any]:
    function = call.get("function")
    held = function if isinstance(function, dict) else {}
    return call.get("id"), held.get("name"), held.get("arguments")


def _text(part: Any) -> str:
    return str(part.get("text") or "") if isinstance(part, dict) else ""


def _usage(reply: Reply, body: dict[str, Any], more: Mapping[str, Any] | None) -> dict[str, Any]:
    return usage.chat(usage.usage_of(reply.usage, reply.message, body), more)


def _usage_of(error: ModelError, body: dict[str, Any], more: Mapping[str, Any] | None) -> dict[str, Any]:
    return usage.chat(usage.usage_of(error.usage, error.partial, body), more)
