"""Answers of every dialect, mutated, read through the whole client: what came of each, and whether that may be."""

from __future__ import annotations

import asyncio
import copy
import json
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from random import Random
from typing import Any

import httpx

from agent.llm.dialects.registry import DIALECTS, dialect_named
from agent.llm.errors import BudgetReached, ModelError
from agent.llm.messages import Message, user
from agent.llm.models.endpoint import Endpoint
from agent.llm.net.retry import RetryPolicy
from agent.llm.request import ModelRef, Request, ToolSpec
from agent.llm.stream import Reply, TextDelta
from agent.serialize import read_message, to_plain
from tests.agent.llm.doors import Door, door
from tests.support.mutations import mutated, mutated_json, pieces

HANGS_S = 20.0
TOOL = ToolSpec("read", "Read.", {"type": "object", "properties": {"path": {"type": "string"}}})
USAGE = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}


def _chat(*deltas: dict[str, Any], finish: str = "stop") -> list[dict[str, Any]]:
    chunks = [
        {"id": "x", "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas
    ]
    end = {"id": "x", "choices": [{"index": 0, "delta": {}, "finish_reason": finish}]}
    return [*chunks, end, {"id": "x", "choices": [], "usage": USAGE}]


def _call(arguments: str, **more: Any) -> dict[str, Any]:
    return {"tool_calls": [{"type": "function", "function": {"name": "read", "arguments": arguments}, **more}]}


def _block(index: int, kind: dict[str, Any], *deltas: dict[str, Any]) -> list[dict[str, Any]]:
    start = {"type": "content_block_start", "index": index, "content_block": kind}
    middle = [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
    return [start, *middle, {"type": "content_block_stop", "index": index}]


_MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "m",
    "content": [],
    "usage": {"input_tokens": 9, "output_tokens": 1},
}
_ITEM = {
    "type": "function_call",
    "id": "fc_1",
    "call_id": "call_1",
    "name": "read",
    "arguments": '{"path": "a"}',
    "status": "completed",
}
_SAID = {
    "type": "message",
    "id": "m_1",
    "role": "assistant",
    "content": [{"type": "output_text", "text": "Hello there."}],
}
_RESPONSE = {
    "id": "r_1",
    "object": "response",
    "model": "m",
    "output": [],
    "usage": {"input_tokens": 9, "output_tokens": 4, "total_tokens": 13},
}

# Sound answers by dialect: streams of events, then whole bodies, then errors.
STREAMS: dict[str, list[list[dict[str, Any]]]] = {
    "chat": [
        _chat({"role": "assistant", "content": "Hello "}, {"content": "there, Grüße 🙂."}),
        _chat({"reasoning": "hm", "reasoning_details": [{"type": "reasoning.text", "text": "hm", "index": 0}]}, {"content": "yes"}),
        _chat({"content": "<think>a plan"}, {"content": "</think>\n\nThe answer."}),
        _chat({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]}, {"content": "yes"}),
        _chat(_call('{"pa', index=0, id="c1"), _call('th": "a"}', index=0), _call('{"path": "b"}', index=1, id="c2"), finish="tool_calls"),
        _chat(_call('{"path": "a"}', index=None, id=""), _call('{"path": "b"}', index=None, id=""), finish="stop"),
        [{"choices": [{"index": 0, "message": {"role": "assistant", "content": "Whole."}, "finish_reason": "stop"}], "usage": USAGE}],
        [{"error": {"message": "Rate limit reached", "type": "requests", "code": "rate_limit_exceeded"}}],
        [{"base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}, "choices": None}],
    ],
    "anthropic": [
        [
            {"type": "message_start", "message": _MESSAGE},
            *_block(0, {"type": "thinking", "thinking": ""}, {"type": "thinking_delta", "thinking": "hm"}, {"type": "signature_delta", "signature": "s"}),
            *_block(1, {"type": "text", "text": ""}, {"type": "text_delta", "text": "Hello "}, {"type": "text_delta", "text": "there."}),
            *_block(2, {"type": "tool_use", "id": "t1", "name": "read", "input": {}}, {"type": "input_json_delta", "partial_json": '{"path": "a"}'}),
            {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 9}},
            {"type": "message_stop"},
        ],
        [{**_MESSAGE, "content": [{"type": "text", "text": "Whole."}, {"type": "tool_use", "id": "t", "name": "read", "input": {"path": "a"}}], "stop_reason": "tool_use"}],
        [{"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}],
    ],
    "responses": [
        [
            {"type": "response.created", "response": _RESPONSE},
            {"type": "response.output_item.added", "output_index": 0, "item": {"type": "reasoning", "id": "rs", "summary": []}},
            {"type": "response.reasoning_summary_text.delta", "output_index": 0, "summary_index": 0, "delta": "hm"},
            {"type": "response.output_item.done", "output_index": 0, "item": {"type": "reasoning", "id": "rs", "summary": [{"type": "summary_text", "text": "hm"}], "encrypted_content": "e"}},
            {"type": "response.output_text.delta", "output_index": 1, "delta": "Hello "},
            {"type": "response.output_text.delta", "output_index": 1, "delta": "there."},
            {"type": "response.output_item.done", "output_index": 1, "item": _SAID},
            {"type": "response.function_call_arguments.delta", "output_index": 2, "delta": "{}"},
            {"type": "response.output_item.done", "output_index": 2, "item": _ITEM},
            {"type": "response.completed", "response": {**_RESPONSE, "status": "completed", "output": [_SAID, _ITEM]}},
        ],
        [{**_RESPONSE, "status": "completed", "output": [_SAID]}],
        [{"type": "error", "code": "server_error", "message": "Oops"}],
    ],
}  # fmt: skip

_KINDS = ("text/event-stream", "text/event-stream; charset=utf-16", "application/json", "text/plain", "")


class _Body(httpx.AsyncByteStream):
    def __init__(self, parts: Sequence[bytes], breaks: bool) -> None:
        self._parts, self._breaks = parts, breaks

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self._parts:
            yield part
        if self._breaks:
            raise httpx.ReadError("connection reset")


class Streams:
    """Runs one mutated answer after the other. `text_lost`, `hung` and `escaped` are what must not be."""

    def __init__(self) -> None:
        self._response: tuple[int, dict[str, str], _Body] = (200, {}, _Body([], False))
        self._doors = {name: self._door(name) for name in STREAMS}

    async def aclose(self) -> None:
        """Close the clients."""
        for bench in self._doors.values():
            await bench.client.aclose()

    async def run(self, seed: int) -> str | None:
        """What is wrong with the answer of this seed; None where it is an answer or a named error, and nothing of it is lost."""
        random = Random(seed)
        name = random.choice(list(self._doors))
        bench = self._doors[name]
        self._response = _response(name, random)
        bench.events.clear()
        bench.requests.clear()
        bench.books.lines.clear()
        bench.books.bounds.clear()
        bench.books.settled.clear()
        began = time.process_time()
        kept: Message | None
        try:
            async with asyncio.timeout(HANGS_S):
                reply: Reply = await bench.ask(_request(name))
            kept = reply.message
        except ModelError as error:
            kept = error.partial
            if not error.message or not error.kind:
                return "escaped: an error without words"
        except BudgetReached as error:
            return f"escaped: {error!r}"
        except TimeoutError:
            return f"hung: more than {HANGS_S:g} s"
        except Exception as error:
            return f"escaped: {type(error).__name__}: {str(error)[:200]}"
        # Of this process's own time: a loaded machine is no fault of ours.
        if time.process_time() - began > HANGS_S / 10:
            return "hung: it took more than a tenth of the time that counts as for ever"
        shown = "".join(event.text for event in bench.events if isinstance(event, TextDelta))
        return _lost(shown, kept) or _bricked(kept)

    def _door(self, name: str) -> Door:
        endpoint = Endpoint(name, "http://127.0.0.1:9/v1", dialect=name, free=True)

        def give(_request: httpx.Request) -> httpx.Response:
            status, headers, body = self._response
            return httpx.Response(status, headers=headers, stream=body)

        dialects = {name: dialect_named(name)}
        return door(give, endpoint=endpoint, dialects=dialects, retry=RetryPolicy(attempts=1))


def _request(name: str) -> Request:
    return Request(ModelRef(name, "m"), (user("hi"),), tools=(TOOL,), max_tokens=1000)


def _response(name: str, random: Random) -> tuple[int, dict[str, str], _Body]:
    payloads = [json.dumps(payload) for payload in random.choice(STREAMS[name])]
    if random.random() < 0.6:
        at = random.randrange(len(payloads))
        payloads[at] = mutated_json(payloads[at], random)
    if random.random() < 0.2:
        random.shuffle(payloads)
    if len(payloads) == 1 and random.random() < 0.5:
        data = payloads[0].encode("utf-8", "surrogatepass")
    else:
        data = b"".join(b"data: " + payload.encode("utf-8", "surrogatepass") + b"\n\n" for payload in payloads)
        data += b"data: [DONE]\n\n" if random.random() < 0.5 else b""
    if random.random() < 0.6:
        data = mutated(data, random)
    headers = {"content-type": random.choice(_KINDS)} if random.random() < 0.4 else {"content-type": _KINDS[0]}
    if random.random() < 0.02:
        headers["content-encoding"] = random.choice(("gzip", "br", "identity", "x"))
    status = random.choice((400, 401, 403, 404, 413, 422, 429, 500, 503, 302)) if random.random() < 0.15 else 200
    return status, headers, _Body(pieces(data, random), random.random() < 0.1)


def _lost(shown: str, kept: Message | None) -> str | None:
    """What was shown stays: as the answer, or as what turned out to be thinking before it."""
    said = "" if kept is None else kept.reasoning + kept.text
    # Parts keep the order of their blocks, which need not be the order in which the words came.
    if Counter(_squeezed(shown)) - Counter(_squeezed(said)):
        return f"lost: {shown[:60]!r} was shown, {said[:60]!r} is left"
    return None


def _squeezed(text: str) -> str:
    return re.sub(r"\s+|</?think(ing)?>", "", text)


def _bricked(kept: Message | None) -> str | None:
    """Whatever is kept can be copied, saved, read again, and sent in each dialect."""
    if kept is None:
        return None
    try:
        again = read_message(json.loads(json.dumps(to_plain(copy.deepcopy(kept)), allow_nan=False)))
        if again != kept:
            return "bricked: it is another message after it was saved"
        for name in DIALECTS:
            dialect, endpoint = dialect_named(name), Endpoint(name, "http://127.0.0.1:9/v1", dialect=name)
            for origin in (kept.origin, f"{name}:m"):
                history = (user("hi"), replace(kept, origin=origin), user("go on"))
                body = dialect.encode(replace(_request(name), messages=history), endpoint, frozenset())
                json.dumps(body, allow_nan=False).encode()
    except Exception as error:
        return f"bricked: {type(error).__name__}: {str(error)[:200]}"
    return None
