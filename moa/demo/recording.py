"""The recording, and the transport that plays it: what each model said, as it arrived, in place of a network.

recording.jsonl has a head (`prompt`, `note`), then a line a reply: the model, its text (an object: JSON of an aggregator, in which
`{{MODEL}}` stands for the label under which it was shown that model's answer), the seconds to its first word and from there to its last,
tokens, and US dollars.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import httpx

from agent.text import foreign_json

PIECES_A_SECOND = 20
_NAMED = re.compile(r"\{\{(.+?)\}\}")
_LABEL = re.compile(r"\bAnswer [A-Z]\b")


@dataclass(frozen=True, slots=True)
class Recording:
    """What the user asked, what the recording says of itself, and every reply by the model that made it."""

    prompt: str
    note: str
    replies: dict[str, dict[str, Any]]

    @property
    def told(self) -> str:
        """What is said of it at its head, wherever it is shown."""
        return f"RECORDING. {self.note} Nothing is sent and nothing is kept."

    @classmethod
    def read(cls) -> Recording:
        """The one that is shipped."""
        lines = files("moa.demo").joinpath("recording.jsonl").read_text("utf-8").splitlines()
        head, *replies = [foreign_json.loads(line) for line in lines]
        return cls(head["prompt"], head["note"], {reply["model"]: reply for reply in replies})


class Pace:
    """The recorded pauses. `skip` ends those of all that is being said now; what is said after that has its own again."""

    def __init__(self, *, still: bool = False) -> None:
        """`still`: no pauses at all."""
        self._still = still
        self._skipped = asyncio.Event()

    def skip(self) -> None:
        """Go ahead to the end of what is being said."""
        self._skipped.set()
        self._skipped = asyncio.Event()

    def clock(self) -> asyncio.Event:
        """What ends the pauses of a reply that begins now."""
        return self._skipped

    async def wait(self, clock: asyncio.Event, seconds: float) -> None:
        """A pause, unless it is skipped."""
        if self._still or clock.is_set():
            await asyncio.sleep(0)
            return
        with suppress(TimeoutError):
            await asyncio.wait_for(clock.wait(), seconds)


class Player(httpx.AsyncBaseTransport):
    """Answers each model call with what was recorded of that model, once; anything else is refused, and nothing reaches a network."""

    def __init__(self, recording: Recording, pace: Pace) -> None:
        self._replies = dict(recording.replies)
        self._pace = pace
        self._said: dict[str, str] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """One call."""
        body = foreign_json.loads((await request.aread()).decode()) if request.method == "POST" else {}
        reply = self._replies.pop(f"demo:{body.get('model')}", None)
        if reply is None:
            error = {"code": 400, "message": "the recording has no more than this: nothing can be sent from it"}
            return httpx.Response(400, json={"error": error}, request=request)
        text = reply["text"]
        if isinstance(text, dict):
            text = _NAMED.sub(lambda match: self._label(body, match[1]), json.dumps(text, ensure_ascii=False))
        self._said[reply["model"]] = text
        headers = {"content-type": "text/event-stream"}
        return httpx.Response(200, headers=headers, stream=_Stream(reply, text, self._pace), request=request)

    def _label(self, body: dict[str, Any], model: str) -> str:
        """The neutral label under which an aggregator's request shows what this model said."""
        shown = str(body["messages"][-1]["content"])
        before = shown[: max(0, shown.find(self._said[model].partition("\n")[2][:40]))]
        labels: list[str] = _LABEL.findall(before)
        return labels[-1] if labels else "Answer A"


class _Stream(httpx.AsyncByteStream):
    """A reply as Chat Completions streams it, in pieces of words."""

    def __init__(self, reply: dict[str, Any], text: str, pace: Pace) -> None:
        self._reply = reply
        self._text = text
        self._pace = pace

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """The chunks, each when it came."""
        clock, reply = self._pace.clock(), self._reply
        words = re.findall(r"\S*\s*", self._text)
        each = max(1, round(len(words) / (PIECES_A_SECOND * reply["seconds"])))
        pieces = ["".join(words[start : start + each]) for start in range(0, len(words), each)]
        await self._pace.wait(clock, reply["first_s"])
        for piece in pieces:
            yield _chunk(reply, choices=[{"index": 0, "delta": {"content": piece}}])
            await self._pace.wait(clock, reply["seconds"] / len(pieces))
        usage = {name: reply[name] for name in ("prompt_tokens", "completion_tokens")}
        yield _chunk(
            reply,
            choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}],
            usage={**usage, "total_tokens": sum(usage.values()), "cost": reply["usd"]},
        )
        yield b"data: [DONE]\n\n"


def _chunk(reply: dict[str, Any], **fields: Any) -> bytes:
    name = reply["model"].partition(":")[2]
    return b"data: " + json.dumps({"id": f"recorded-{name}", "model": name, **fields}).encode() + b"\n\n"
