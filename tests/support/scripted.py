"""A model client that follows a script: no network, every request recorded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from agent.llm.accounting import Bound, CallContext
from agent.llm.client import Hold, ModelClient
from agent.llm.messages import assistant
from agent.llm.models.catalogue import Catalogue
from agent.llm.models.endpoint import Endpoint, ModelFacts
from agent.llm.models.learned_quirks import QuirkMemory
from agent.llm.request import ModelRef, Request
from agent.llm.stream import Finished, Reply, Started, StreamEvent, TextDelta, Usage


@dataclass(frozen=True, slots=True)
class After:
    """A line of a script that takes its time."""

    delay_s: float
    line: Line


@dataclass(frozen=True, slots=True)
class Held:
    """A line that comes once the test says so (`ScriptedClient.go`)."""

    line: Line


# A text to answer with, a whole reply, an error to raise, something that takes its time or is held, or a function of the request.
Line = str | Reply | Exception | After | Held | Callable[[Request], "Line"]


class ScriptedClient(ModelClient):
    """Replays, for each `ENDPOINT:MODEL`, its lines in order; the last one repeats. `*` stands for any other model.

    `requests` and `contexts` hold what was asked, in the order of asking. `cancelled` counts the calls that were cut short. `known` is what
    is known of every model.
    """

    def __init__(
        self,
        script: Mapping[str, Sequence[Line] | Line],
        *,
        facts: ModelFacts | None = None,
        memory: QuirkMemory | None = None,
    ) -> None:
        nothing: Any = None  # nothing is reserved here
        super().__init__({}, nothing, catalogue=Catalogue(), memory=memory or QuirkMemory())
        self.script: dict[str, list[Line]] = {
            model: list(lines) if isinstance(lines, list | tuple) else [lines] for model, lines in script.items()
        }
        self.requests: list[Request] = []
        self.contexts: list[CallContext] = []
        self.cancelled = 0
        self.known = facts or ModelFacts()
        self._calls = 0
        self._went, self._asked = asyncio.Event(), asyncio.Event()

    def go(self) -> None:
        """Let held lines come, from now on."""
        self._went.set()

    async def asked(self, count: int = 1) -> None:
        """Wait until so many requests have been made, all told."""
        async with asyncio.timeout(10):
            while len(self.requests) < count:
                self._asked.clear()
                await self._asked.wait()

    def endpoint(self, name: str) -> Endpoint:
        return Endpoint(name, "http://127.0.0.1:9/v1")

    def facts(self, model: ModelRef) -> ModelFacts:
        return self.known

    def bound(self, request: Request, *, headroom_tokens: int = 0) -> Bound:
        return Bound(100, request.max_tokens, 0)

    async def hold(self, request: Request, context: CallContext, *, headroom_tokens: int = 0) -> Hold:
        return Hold("held")

    async def release(self, hold: Hold) -> None:
        return None

    async def stream(
        self, request: Request, context: CallContext, *, hold: Hold | None = None
    ) -> AsyncIterator[StreamEvent]:
        self.requests.append(request)
        self.contexts.append(context)
        self._asked.set()
        self._calls += 1
        call_id = f"call-{self._calls}"
        line = self._next(request)
        yield Started()
        try:
            while not isinstance(line, str | Reply | Exception):
                if isinstance(line, After):
                    await asyncio.sleep(line.delay_s)
                    line = line.line
                elif isinstance(line, Held):
                    await self._went.wait()
                    line = line.line
                else:
                    line = line(request)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if isinstance(line, Exception):
            raise line
        reply = reply_of(line) if isinstance(line, str) else line
        yield TextDelta(reply.message.text)
        yield Finished(
            replace(
                reply,
                call_id=reply.call_id or call_id,
                model_served=reply.model_served or request.model.model,
                message=replace(reply.message, origin=str(request.model)),
            )
        )

    async def complete(
        self, request: Request, context: CallContext, *, on_event: Callable[[StreamEvent], None] | None = None
    ) -> Reply:
        async for event in self.stream(request, context):
            if on_event is not None:
                on_event(event)
            if isinstance(event, Finished):
                return event.reply
        raise AssertionError("a scripted call ends with Finished or an error")

    async def aclose(self) -> None:
        return None

    def _next(self, request: Request) -> Line:
        lines = self.script.get(str(request.model), self.script.get("*"))
        if not lines:
            raise AssertionError(f"the script has no line for {request.model}")
        return lines.pop(0) if len(lines) > 1 else lines[0]


def reply_of(text: str, *, finish: str = "stop", usage: Usage | None = None, cost_nano: int | None = 1_000) -> Reply:
    """A reply of plain text, with a small usage and a known cost unless told otherwise."""
    message = replace(assistant(text), incomplete=finish == "length")
    return Reply(
        message=message,
        finish=finish,  # type: ignore[arg-type]
        usage=usage or Usage(prompt=100, completion=20),
        cost_nano=cost_nano,
        cost_source="unknown" if cost_nano is None else "prices",
    )
