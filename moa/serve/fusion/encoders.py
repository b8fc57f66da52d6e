"""The answer of a request with server tools, on each wire: the wire's own encoder, with what became of the tools put in its place.

Chat Completions has no events for it: a chunk brings the finished call as `reasoning_details`. On Responses the call is an item with
Fusion's events, on Messages a block with its result; there the inner encoder's indices move on by what was put in.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from moa.serve.fusion.called import (
    AnalysisStarted,
    CallFinished,
    CallStarted,
    MemberAdded,
    MemberCompleted,
    MemberDelta,
    MemberFailed,
    ServerEvent,
    begun,
    use_block,
)
from moa.serve.fusion.offered import FUSION

if TYPE_CHECKING:
    from agent.llm.stream import Reply, StreamEvent
    from moa.serve.fusion.loop import Served
    from moa.serve.wires.wire import Encoder

SERVER_EVENTS = (CallStarted, MemberAdded, MemberDelta, MemberCompleted, MemberFailed, AnalysisStarted, CallFinished)


def encoder_for(wire: str, inner: Encoder, served: Served) -> ServedEncoder:
    """An encoder that takes server tools' events, too. `served` is what the loop fills."""
    return {"chat": ChatEncoder, "responses": ResponsesEncoder, "messages": MessagesEncoder}[wire](inner, served)


class ServedEncoder:
    """See `moa.serve.wires.wire.Encoder`. It passes through what the inner one says, event by event."""

    def __init__(self, inner: Encoder, served: Served) -> None:
        self._inner = inner
        self._served = served

    @property
    def mark(self) -> str:
        """The inner encoder's."""
        return self._inner.mark

    def start(self) -> bytes:
        """The head."""
        return self._through(self._inner.start())

    def feed(self, event: StreamEvent | ServerEvent) -> bytes:
        """One event of the model's, or of a server tool."""
        if isinstance(event, SERVER_EVENTS):
            # A head first: a client that is told of a call must know of the answer that it belongs to.
            return self.start() + self._server(event)
        return self._through(self._inner.feed(event))

    def alive(self) -> bytes:
        """A sign of life."""
        return self._through(self._inner.alive())

    def end(self, reply: Reply, usage: Mapping[str, Any] | None = None) -> bytes:
        """The end; how often tools were called joins the usage."""
        return self._through(self._inner.end(reply, self._usage(usage)))

    def fail(self, error: BaseException, usage: Mapping[str, Any] | None = None) -> bytes:
        """The end of an answer that broke."""
        return self._through(self._inner.fail(error, self._usage(usage)))

    def _usage(self, usage: Mapping[str, Any] | None) -> Mapping[str, Any]:
        return {**(usage or {}), **self._served.usage()}

    def _server(self, event: ServerEvent) -> bytes:
        raise NotImplementedError

    def _through(self, data: bytes) -> bytes:
        return data


class ChatEncoder(ServedEncoder):
    """Chat Completions."""

    def __init__(self, inner: Encoder, served: Served) -> None:
        super().__init__(inner, served)
        self._head: dict[str, Any] = {"id": "", "object": "chat.completion.chunk", "created": 0, "model": ""}
        self._calls = 0

    def _server(self, event: ServerEvent) -> bytes:
        if not isinstance(event, CallFinished):
            return self._inner.alive()
        detail = event.called.detail(self._calls)
        self._calls += 1
        delta = {"role": "assistant", "content": "", "reasoning_details": [detail]}
        chunk = {**self._head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
        return f"data: {_json(chunk)}\n\n".encode()

    def _through(self, data: bytes) -> bytes:
        if not self._head["id"]:
            for _name, payload in _events(data):
                if payload is not None and payload.get("id"):
                    self._head = {key: payload.get(key, value) for key, value in self._head.items()}
                    break
        return data


class ResponsesEncoder(ServedEncoder):
    """Responses. Items that the inner encoder begins stand behind those that were put in before them."""

    def __init__(self, inner: Encoder, served: Served) -> None:
        super().__init__(inner, served)
        self._sequence = 0
        self._count = 0
        self._places: dict[int, int] = {}
        self._own: dict[str, int] = {}
        self._done: dict[int, dict[str, Any]] = {}

    def _server(self, event: ServerEvent) -> bytes:
        if isinstance(event, CallStarted):
            at = self._own[event.call.id] = self._count
            self._count += 1
            item = begun(event.offered, event.call)
            out = self._say("response.output_item.added", {"output_index": at, "item": item})
            if event.offered.type == FUSION:
                out += self._fusion("in_progress", event.call.id)
            return out
        if isinstance(event, CallFinished):
            called = event.called
            at, item = self._own[called.call.id], called.item()
            self._done[at] = item
            out = b""
            if called.offered.type == FUSION:
                if "analysis" in item:
                    out += self._fusion("analysis.completed", called.call.id, analysis=item["analysis"])
                out += self._fusion("completed", called.call.id)
            return out + self._say("response.output_item.done", {"output_index": at, "item": item})
        return self._panel(event)

    def _panel(self, event: ServerEvent) -> bytes:
        match event:
            case MemberAdded():
                return self._fusion("panel.added", event.call, model=event.model)
            case MemberDelta():
                name = "panel.reasoning.delta" if event.thought else "panel.delta"
                return self._fusion(name, event.call, model=event.model, delta=event.text)
            case MemberCompleted():
                return self._fusion("panel.completed", event.call, model=event.model, content=event.text)
            case MemberFailed():
                status = {} if event.status is None else {"status_code": event.status}
                return self._fusion("panel.failed", event.call, model=event.model, error=event.error, **status)
            case AnalysisStarted():
                both = {"analyst_model": event.model, "judge_model": event.model}
                return self._fusion("analysis.in_progress", event.call, **both)
            case _:
                return b""

    def _fusion(self, name: str, call: str, **more: Any) -> bytes:
        return self._say(f"response.fusion_call.{name}", {"item_id": call, "output_index": self._own[call], **more})

    def _say(self, kind: str, payload: Mapping[str, Any]) -> bytes:
        event = {"type": kind, "sequence_number": self._sequence, **payload}
        self._sequence += 1
        return f"event: {kind}\ndata: {_json(event)}\n\n".encode()

    def _through(self, data: bytes) -> bytes:
        out = b""
        for name, payload in _events(data):
            if payload is None:
                out += name
                continue
            if isinstance(at := payload.get("output_index"), int):
                if at not in self._places:
                    self._places[at] = self._count
                    self._count += 1
                payload["output_index"] = self._places[at]
            response = payload.get("response")
            if isinstance(response, dict) and isinstance(response.get("output"), list) and response["output"]:
                response["output"] = self._merged(response["output"])
            elif isinstance(response, dict) and payload.get("type") in _ENDS and self._done:
                response["output"] = self._merged(response.get("output") or [])
            payload.pop("sequence_number", None)
            out += self._say(str(payload.pop("type", "")), payload)
        return out

    def _merged(self, items: Sequence[Any]) -> list[Any]:
        placed = {self._places.get(at, self._count + at): item for at, item in enumerate(items)}
        return [item for _at, item in sorted((placed | self._done).items())]


_ENDS = frozenset({"response.completed", "response.incomplete", "response.failed"})


class MessagesEncoder(ServedEncoder):
    """Messages. Blocks follow one another: one that is open is closed before a tool's begins, and goes on as a new one behind it."""

    def __init__(self, inner: Encoder, served: Served) -> None:
        super().__init__(inner, served)
        self._count = 0
        self._places: dict[int, int] = {}
        self._open: tuple[int, dict[str, Any]] | None = None
        self._broken: dict[int, dict[str, Any]] = {}

    def _server(self, event: ServerEvent) -> bytes:
        if isinstance(event, CallStarted):
            return self._close() + self._block(use_block(event.offered, event.call))
        if isinstance(event, CallFinished):
            return self._close() + self._block(event.called.blocks()[1])
        return self._inner.alive()

    def _close(self) -> bytes:
        if self._open is None:
            return b""
        at, block = self._open
        self._open = None
        self._broken[at] = block
        return _event("content_block_stop", {"index": self._places[at]})

    def _block(self, block: Mapping[str, Any]) -> bytes:
        at = self._count
        self._count += 1
        return _event("content_block_start", {"index": at, "content_block": dict(block)}) + _event(
            "content_block_stop", {"index": at}
        )

    def _through(self, data: bytes) -> bytes:
        out = b""
        for name, payload in _events(data):
            if payload is None:
                out += name
                continue
            kind = str(payload.get("type", ""))
            at = payload.get("index")
            if isinstance(at, int) and kind.startswith("content_block"):
                if kind == "content_block_start":
                    self._places[at] = self._count
                    self._count += 1
                    self._open = (at, dict(payload.get("content_block") or {}))
                elif at in self._broken:
                    if kind == "content_block_stop":  # it was closed already, and nothing came since
                        del self._broken[at]
                        continue
                    out += self._again(at)
                elif kind == "content_block_stop":
                    self._open = None
                payload["index"] = self._places.get(at, at)
            payload.pop("type", None)
            out += _event(kind, payload)
        return out

    def _again(self, at: int) -> bytes:
        """The rest of a block that was closed for a tool's, as a new one."""
        block = self._broken.pop(at)
        begin = {key: "" if key in ("text", "thinking", "signature") else value for key, value in block.items()}
        self._places[at] = self._count
        self._count += 1
        self._open = (at, block)
        return _event("content_block_start", {"index": self._places[at], "content_block": begin})


def whole(wire: str, answer: dict[str, Any], served: Served) -> dict[str, Any]:
    """An answer that is not streamed, with what became of server tools in it."""
    if not served.calls:
        return answer
    if wire == "chat":
        details = [call.detail(at) for at, call in enumerate(served.calls)]
        choices = [dict(choice) for choice in answer.get("choices", ())]
        for choice in choices[:1]:
            message = dict(choice.get("message") or {})
            message["reasoning_details"] = [*details, *(message.get("reasoning_details") or ())]
            choice["message"] = message
        return {**answer, "choices": choices}
    if wire == "responses":
        items = [call.item() for call in served.calls]
        return {**answer, "output": _behind_thoughts(answer.get("output") or [], items)}
    blocks: list[dict[str, Any]] = []
    for call in served.calls:
        blocks += call.blocks()
    content = list(answer.get("content") or ())
    place = _place(content, served)
    return {**answer, "content": [*content[:place], *blocks, *content[place:]]}


def _behind_thoughts(items: Sequence[Any], calls: Sequence[Any]) -> list[Any]:
    """The calls before the words: a model is asked to write from what a tool brought."""
    at = next((at for at, item in enumerate(items) if item.get("type") != "reasoning"), len(items))
    return [*items[:at], *calls, *items[at:]]


def _place(content: Sequence[Any], served: Served) -> int:
    """Where the tools' blocks stand among the reply's: behind as many as the first call had before it."""
    return min(served.places[0], len(content)) if served.places else 0


def _event(kind: str, payload: Mapping[str, Any]) -> bytes:
    return f"event: {kind}\ndata: {_json({'type': kind, **payload})}\n\n".encode()


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _events(data: bytes) -> list[tuple[bytes, dict[str, Any] | None]]:
    """The events in an encoder's bytes: (the bytes, the JSON), None for a comment or a terminator."""
    from agent.text import foreign_json

    found: list[tuple[bytes, dict[str, Any] | None]] = []
    for frame in data.split(b"\n\n"):
        if not frame.strip():
            continue
        lines = [line[5:].strip() for line in frame.split(b"\n") if line.startswith(b"data:")]
        try:
            value = foreign_json.loads(b"\n".join(lines)) if lines else None
        except ValueError:
            value = None
        found.append((frame + b"\n\n", value if isinstance(value, dict) else None))
    return found
