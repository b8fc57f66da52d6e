"""The Responses wire as clients speak it: Codex, and OpenAI's own libraries."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Mapping
from typing import Any

from agent.llm.answers.calls import is_whole
from agent.llm.errors import ModelError
from agent.llm.messages import ReasoningPart, TextPart, ToolCallPart
from agent.llm.stream import Citation, Reply, StreamEvent
from moa.serve.wires import responses_reading, responses_tools, usage
from moa.serve.wires.citing import url_citation
from moa.serve.wires.errors import ending, fault_of
from moa.serve.wires.kept import new_mark
from moa.serve.wires.parts import Begin, End, More, Open, Sequence, Step
from moa.serve.wires.reading import reply_marks
from moa.serve.wires.wire import Asked, Encoder, Target, Unsayable

_REASONS = {"length": "max_output_tokens", "refusal": "content_filter"}
_IDS = {"text": "msg", "reasoning": "rs", "call": "fc"}


class ResponsesWire:
    """See `ClientWire`."""

    name = "responses"
    dialect = "responses"
    sign = b": keep-alive\n\n"

    def marks(self, body: dict[str, Any]) -> list[str]:
        """Of each reply: what its thoughts are sealed with, then its calls or its words."""
        try:
            groups = responses_reading.replies(responses_reading.items_of(body.get("input")))
        except Unsayable:
            return []
        marks: list[str] = []
        for group in groups:
            items = [item for _param, item in group]
            if not responses_reading.is_reply(items[0]):
                continue
            said = [item.get("content") for item in items if responses_reading.kind_of(item) == "message"]
            calls = [_called(item) for item in items if str(item.get("type")).endswith("_call")]
            marks += reply_marks(responses_reading.tokens_of(items), calls, "".join(map(_text, said)))
        return marks

    def read(self, body: dict[str, Any], target: Target) -> Asked:
        """The request. Raises Unsayable."""
        return responses_reading.read(body, target)

    def encoder(self, model: str, body: dict[str, Any]) -> Encoder:
        """For one streamed answer."""
        return _Stream(model, body)

    def whole(
        self, reply: Reply, model: str, body: dict[str, Any], mark: str = "", usage: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """A response."""
        writer = _Items(body, mark or new_mark())
        output = []
        for part in reply.message.parts:
            if isinstance(part, TextPart) and part.text.strip():
                output.append(writer.item(Open("text", written=part.text), "completed"))
            elif isinstance(part, ReasoningPart) and part.text.strip():
                output.append(writer.item(Open("reasoning", written=part.text), "completed"))
            elif isinstance(part, ToolCallPart) and (reply.finish != "length" or is_whole(part.arguments)):
                call = Open("call", id=part.id, name=part.name, written=part.arguments)
                output.append(writer.item(call, "completed"))
        said = [item for item in output if item["type"] == "message"]
        if said:
            said[-1]["content"][0]["annotations"] = _annotations(reply.citations)
        return _ended(_response(model, body), output, reply.finish, _usage(reply, body, usage))

    def refused(
        self, error: BaseException, model: str, body: dict[str, Any], usage: Mapping[str, Any] | None = None
    ) -> dict[str, Any] | None:
        """Incomplete, by the filter or by the limit."""
        end = ending(error)
        if end is None or not isinstance(error, ModelError):
            return None
        writer = _Items(body, new_mark())
        text = error.partial.text if error.partial is not None else ""
        output = [writer.item(Open("text", written=text), "incomplete")] if text.strip() else []
        if end == "refusal" and not output:
            output = [writer.refusal(error.message)]
        return _ended(_response(model, body), output, end, _usage_of(error, body, usage))

    def error(self, error: BaseException) -> tuple[int, dict[str, Any], dict[str, str]]:
        """OpenAI's envelope."""
        fault = fault_of(error)
        return fault.status, fault.openai, fault.headers

    def count(self, tokens: int) -> dict[str, Any]:
        """As `/responses/input_tokens` answers."""
        return {"object": "response.input_tokens", "input_tokens": tokens}


class _Stream:
    """`response.created` to `response.completed`, each event with its number; `response.failed` where it broke."""

    def __init__(self, model: str, body: dict[str, Any]) -> None:
        self.mark = new_mark()
        self._body = body
        self._response = _response(model, body)
        self._items = _Items(body, self.mark)
        self._parts = Sequence()
        self._number = 0
        self._cited: tuple[Citation, ...] = ()
        self._begun = self._over = False
        self._output: list[dict[str, Any]] = []
        self._ids: dict[int, str] = {}

    def start(self) -> bytes:
        """`response.created`, `response.in_progress`."""
        if self._begun:
            return b""
        self._begun = True
        return self._event("response.created", {"response": self._response}) + self._progress()

    def feed(self, event: StreamEvent) -> bytes:
        """Items, one after the other."""
        if self._over:
            return b""
        steps = self._parts.feed(event)
        return self.start() + b"".join(map(self._step, steps)) if steps else b""

    def alive(self) -> bytes:
        """`response.in_progress`, once more."""
        return b"" if self._over else self.start() or self._progress()

    def end(self, reply: Reply, usage: Mapping[str, Any] | None = None) -> bytes:
        """The rest of the items, and the whole response."""
        if self._over:
            return b""
        try:
            steps = self._parts.finish(reply)
        except ModelError as error:
            return self.fail(error, usage)
        self._cited = reply.citations
        said = self.start() + b"".join(map(self._step, steps))
        return said + self._close(reply.finish, _usage(reply, self._body, usage))

    def fail(self, error: BaseException, usage: Mapping[str, Any] | None = None) -> bytes:
        """`response.failed`. An item that is open stays open."""
        if self._over:
            return b""
        said, end = self.start(), ending(error)
        if end is not None and isinstance(error, ModelError):
            said += b"".join(map(self._step, self._parts.close()))
            if end == "refusal" and not self._output:
                said += self._refusal(error.message)
            return said + self._close(end, _usage_of(error, self._body, usage))
        self._over = True
        fault = fault_of(error)
        failed = {**self._response, "status": "failed", "output": self._output}
        failed["error"] = {"code": fault.code or "server_error", "message": fault.message}
        return said + self._event("response.failed", {"response": failed})

    def _refusal(self, words: str) -> bytes:
        item = self._items.refusal(words)
        at = {"output_index": len(self._output)}
        self._output.append(item)
        return self._event("response.output_item.added", {**at, "item": {**item, "content": []}}) + self._event(
            "response.output_item.done", {**at, "item": item}
        )

    def _close(self, finish: str, said: dict[str, Any]) -> bytes:
        self._over = True
        response = _ended(self._response, self._output, finish, said)
        return self._event(f"response.{response['status']}", {"response": response})

    def _progress(self) -> bytes:
        return self._event("response.in_progress", {"response": self._response})

    def _step(self, step: Step) -> bytes:
        if isinstance(step, Begin):
            return self._begin(step)
        if isinstance(step, More):
            return self._more(step)
        return self._end(step)

    def _begin(self, step: Begin) -> bytes:
        kind = step.part.kind
        self._ids[step.at] = id = f"{_IDS[kind]}_{secrets.token_hex(12)}"
        at = {"output_index": step.at}
        item = self._items.item(step.part, "in_progress", id=id, empty=True)
        said = self._event("response.output_item.added", {**at, "item": item})
        if kind == "text":
            part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
            said += self._event("response.content_part.added", {"item_id": id, **at, "content_index": 0, "part": part})
        elif kind == "reasoning":
            part = {"type": "summary_text", "text": ""}
            said += self._event(
                "response.reasoning_summary_part.added", {"item_id": id, **at, "summary_index": 0, "part": part}
            )
        return said

    def _more(self, step: More) -> bytes:
        where = {"item_id": self._ids[step.at], "output_index": step.at}
        if step.part.kind == "text":
            held = {**where, "content_index": 0, "delta": step.text, "logprobs": []}
            return self._event("response.output_text.delta", held)
        if step.part.kind == "reasoning":
            held = {**where, "summary_index": 0, "delta": step.text}
            return self._event("response.reasoning_summary_text.delta", held)
        if self._items.is_free(step.part.name):
            return b""  # what is free-form inside of JSON is known at its end
        return self._event("response.function_call_arguments.delta", {**where, "delta": step.text})

    def _end(self, step: End) -> bytes:
        part, id = step.part, self._ids[step.at]
        where = {"item_id": id, "output_index": step.at}
        item = self._items.item(part, "completed" if step.whole else "incomplete", id=id)
        self._output.append(item)
        said = b""
        if part.kind == "text":
            held = {**where, "content_index": 0}
            # They are known at the end, when the last item is still open.
            cited, self._cited = _annotations(self._cited), ()
            item["content"][0]["annotations"] = cited
            for index, source in enumerate(cited):
                added = {**held, "annotation_index": index, "annotation": source}
                said += self._event("response.output_text.annotation.added", added)
            said += self._event("response.output_text.done", {**held, "text": part.written, "logprobs": []})
            said += self._event("response.content_part.done", {**held, "part": item["content"][0]})
        elif part.kind == "reasoning":
            held = {**where, "summary_index": 0}
            said += self._event("response.reasoning_summary_text.done", {**held, "text": part.written})
            said += self._event("response.reasoning_summary_part.done", {**held, "part": item["summary"][0]})
        elif not step.whole:
            return b""  # clients run a call as soon as its item is done
        elif self._items.is_free(part.name):
            text = item["input"]
            said += self._event("response.custom_tool_call_input.delta", {**where, "delta": text})
            said += self._event("response.custom_tool_call_input.done", {**where, "input": text})
        else:
            held = {**where, "name": item["name"], "arguments": part.written}
            said += self._event("response.function_call_arguments.done", held)
        return said + self._event("response.output_item.done", {"output_index": step.at, "item": item})

    def _event(self, kind: str, fields: dict[str, Any]) -> bytes:
        numbered = {"type": kind, "sequence_number": self._number, **fields}
        self._number += 1
        data = json.dumps(numbered, ensure_ascii=False, separators=(",", ":"))
        return f"event: {kind}\ndata: {data}\n\n".encode()


class _Items:
    """Writes the items of one answer."""

    def __init__(self, body: dict[str, Any], mark: str) -> None:
        self._tools = responses_tools.named(body)
        self._mark = mark

    def is_free(self, name: str) -> bool:
        """Whether a tool is free-form."""
        return name in self._tools.custom

    def item(self, part: Open, status: str, *, id: str = "", empty: bool = False) -> dict[str, Any]:
        """A part as an item; `empty` as it begins."""
        id = id or f"{_IDS[part.kind]}_{secrets.token_hex(12)}"
        text = "" if empty else part.written
        if part.kind == "call":
            return self._tools.item(id, part.name, part.id, text, status)
        if part.kind == "reasoning":
            summary = [] if empty else [{"type": "summary_text", "text": text}]
            return {"id": id, "type": "reasoning", "summary": summary, "encrypted_content": self._mark}
        content = [] if empty else [{"type": "output_text", "text": text, "annotations": [], "logprobs": []}]
        return {"id": id, "type": "message", "status": status, "role": "assistant", "content": content}

    def refusal(self, words: str) -> dict[str, Any]:
        """A message that declines."""
        message = self.item(Open("text"), "completed", empty=True)
        return {**message, "content": [{"type": "refusal", "refusal": words}]}


def _response(model: str, body: dict[str, Any]) -> dict[str, Any]:
    """A response that has just begun, with what was asked for as OpenAI's own give it back."""
    given = body.get("reasoning")
    reasoning: dict[str, Any] = given if isinstance(given, dict) else {}
    return {
        "id": f"resp_{secrets.token_hex(16)}",
        "object": "response",
        "created_at": int(time.time()),
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": body.get("instructions"),
        "max_output_tokens": body.get("max_output_tokens"),
        "metadata": body.get("metadata") or {},
        "model": model,
        "output": [],
        "parallel_tool_calls": body.get("parallel_tool_calls") is not False,
        "previous_response_id": None,
        "prompt_cache_key": body.get("prompt_cache_key"),
        "reasoning": {"effort": reasoning.get("effort"), "summary": reasoning.get("summary")},
        "service_tier": body.get("service_tier") or "default",
        "store": False,
        "temperature": body.get("temperature"),
        "text": body.get("text") or {"format": {"type": "text"}},
        "tool_choice": body.get("tool_choice") or "auto",
        "tools": body.get("tools") or [],
        "top_p": body.get("top_p"),
        "truncation": "disabled",
        "usage": None,
        "user": body.get("user"),
    }


def _annotations(cited: tuple[Citation, ...]) -> list[dict[str, Any]]:
    return [{"type": "url_citation", **url_citation(source)} for source in cited]


def _ended(response: dict[str, Any], output: list[dict[str, Any]], finish: str, said: dict[str, Any]) -> dict[str, Any]:
    reason = _REASONS.get(finish)
    status = {"status": "incomplete" if reason else "completed"}
    details = {"incomplete_details": {"reason": reason} if reason else None}
    return {**response, **status, **details, "completed_at": int(time.time()), "output": output, "usage": said}


def _called(item: dict[str, Any]) -> tuple[Any, Any, Any]:
    name, arguments = item.get("name"), item.get("arguments")
    if item.get("type") == "custom_tool_call":
        arguments = responses_tools.bound(item.get("input"))
    return item.get("call_id"), responses_tools.wire_name(item.get("namespace"), name), arguments


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    parts = [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []
    return "".join(str(part.get("text") or part.get("refusal") or "") for part in parts)


def _usage(reply: Reply, body: dict[str, Any], more: Mapping[str, Any] | None) -> dict[str, Any]:
    return usage.responses(usage.usage_of(reply.usage, reply.message, body), more)


def _usage_of(error: ModelError, body: dict[str, Any], more: Mapping[str, Any] | None) -> dict[str, Any]:
    return usage.responses(usage.usage_of(error.usage, error.partial, body), more)
