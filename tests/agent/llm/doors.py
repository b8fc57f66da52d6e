"""A door to try: a small dialect, books that only write down, and servers on loopback."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

import httpx

from agent.llm.accounting import Bound, CallContext, Settlement
from agent.llm.client import Clocks, ModelClient
from agent.llm.errors import (
    AuthError,
    BadRequest,
    EmptyAnswer,
    ModelError,
    ModelNotFound,
    Overloaded,
    PaymentRequired,
    RateLimited,
    StreamBroken,
    Unsupported,
)
from agent.llm.messages import Message, assistant, user
from agent.llm.models.catalogue import Catalogue
from agent.llm.models.endpoint import Endpoint, ModelFacts, Price
from agent.llm.models.learned_quirks import QuirkMemory
from agent.llm.net.exchange import HttpExchange
from agent.llm.net.retry import RetryPolicy
from agent.llm.request import ModelRef, Request
from agent.llm.stream import Reply, StreamEvent, TextDelta, Usage

KEY = "sk-very-secret-key"
ENDPOINT = Endpoint(
    "fake",
    "http://127.0.0.1:9/v1",
    api_key=KEY,
    models={"m": ModelFacts(context_window=10_000, price=Price(1.0, 2.0, cached=0.1), native_tools=True)},
)
ASK = Request(ModelRef("fake", "m"), (user("hello"),), max_tokens=100)
MAIN = CallContext("main", session="s", run="r", turn="t")
FAST = RetryPolicy(base_s=0.001, seed=1)


class Books:
    """Writes down what the door tells the books, in order."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []
        self.bounds: list[Bound] = []
        self.settled: list[Settlement] = []
        self.generation: str | None = None
        self.refusal: Exception | None = None
        self._ids = count(1)

    async def reserve(self, model: ModelRef, context: CallContext, bound: Bound, *, sends: bool = False) -> str:
        if self.refusal is not None:
            raise self.refusal
        call_id = f"c{next(self._ids)}"
        self.lines.append(("reserve", call_id))
        if sends:
            self.lines.append(("sent", call_id))
        self.bounds.append(bound)
        return call_id

    async def adjust(self, call_id: str, context: CallContext, bound: Bound) -> None:
        self.lines.append(("adjust", call_id))
        if self.refusal is not None:
            raise self.refusal
        self.bounds.append(bound)

    async def sent(self, call_id: str, *, generation_id: str | None = None) -> None:
        self.generation = generation_id or self.generation
        self.lines.append(("sent", call_id))

    async def settle(self, call_id: str, settlement: Settlement) -> None:
        self.lines.append(("settle", call_id))
        self.settled.append(settlement)

    async def release(self, call_id: str, *, marked: bool = False) -> None:
        self.lines.append(("release", call_id))


class Words:
    """Decodes `{"say": text}`, `{"usage": [prompt, completion]}`, `{"stop": true}` and `{"fail": text}`."""

    def __init__(self, request: Request) -> None:
        self.usage: Usage | None = None
        self.generation_id: str | None = None
        self._request = request
        self._text = ""
        self._stopped = False

    def headers(self, headers: Mapping[str, str]) -> None:
        return None

    def feed(self, event: str, data: str) -> list[StreamEvent]:
        if data == "[DONE]":
            return []
        try:
            return self._take(json.loads(data))
        except ValueError:
            raise StreamBroken("a damaged event", partial=self.partial) from None

    def feed_body(self, body: bytes) -> list[StreamEvent]:
        return self._take(json.loads(body))

    def finish(self) -> Reply:
        if not self._stopped:
            raise StreamBroken("no finish reason", partial=self.partial)
        if not self._text:
            raise EmptyAnswer("nothing said", usage=self.usage)
        return Reply(assistant(self._text, origin=str(self._request.model)), "stop", self.usage)

    @property
    def partial(self) -> Message | None:
        return replace(assistant(self._text), incomplete=True) if self._text else None

    def _take(self, value: dict[str, Any]) -> list[StreamEvent]:
        if "fail" in value:
            raise StreamBroken(value["fail"], partial=self.partial)
        if "usage" in value:
            self.usage = Usage(prompt=value["usage"][0], completion=value["usage"][1])
        self.generation_id = value.get("id", self.generation_id)
        self._stopped = self._stopped or "stop" in value
        self._text += value.get("say", "")
        return [TextDelta(value["say"])] if value.get("say") else []


class TinyDialect:
    """The smallest wire format that has everything the door must deal with."""

    name = "tiny"
    path = "/chat"
    list_path = "/models"

    def is_last(self, event: str, data: str) -> bool:
        return data == "[DONE]"

    def headers(self, endpoint: Endpoint) -> dict[str, str]:
        return {"authorization": f"Bearer {endpoint.api_key}"}

    def betas(self, body: Mapping[str, Any], headers: Mapping[str, str]) -> Mapping[str, str]:
        return {}

    def items(self, body: dict[str, Any]) -> list[Any]:
        return [body["text"]]

    def compose(
        self, request: Request, endpoint: Endpoint, quirks: frozenset[str], left: list[str] | None = None
    ) -> dict[str, Any]:
        return self.encode(request, endpoint, quirks, left)

    def encode(
        self, request: Request, endpoint: Endpoint, quirks: frozenset[str], left: list[str] | None = None
    ) -> dict[str, Any]:
        return {"model": request.model.model, "text": request.messages[-1].text, "without": sorted(quirks)}

    def classify(
        self,
        status: int,
        headers: Mapping[str, str],
        body: bytes,
        endpoint: Endpoint | None = None,
        sent: Mapping[str, Any] | None = None,
    ) -> ModelError:
        text = body.decode(errors="replace")
        if text.startswith("no "):
            return Unsupported(text, feature=text.split()[1], status=status)
        kinds: dict[int, type[ModelError]] = {
            401: AuthError,
            402: PaymentRequired,
            403: AuthError,
            404: ModelNotFound,
            429: RateLimited,
        }
        kind = kinds.get(status) or (Overloaded if status >= 500 or status == 408 else BadRequest)
        after = headers.get("retry-after")
        return kind(text or str(status), status=status, retry_after=float(after) if after else None)

    def decoder(self, request: Request, endpoint: Endpoint) -> Words:
        return Words(request)

    def exchange(self, decoder: Any, endpoint: Endpoint, headers: Mapping[str, str] | None = None) -> HttpExchange:
        return HttpExchange(self, decoder, endpoint, headers)


def sse(*values: object, done: bool = True) -> bytes:
    """Server-sent events; a string is sent as it is."""
    lines = [value if isinstance(value, str) else f"data: {json.dumps(value)}\n\n" for value in values]
    return "".join([*lines, "data: [DONE]\n\n" if done else ""]).encode()


GOOD = sse({"say": "hi"}, {"say": " there"}, {"usage": [50, 10]}, {"stop": True})


def answer(body: bytes = GOOD, status: int = 200, **headers: str) -> httpx.Response:
    """A response; 200 ones are event streams unless told otherwise."""
    kind = {"content-type": "text/event-stream"} if status == 200 else {}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.Response(status, content=body, headers=kind | named)


class Cut(httpx.AsyncByteStream):
    """A body that breaks off."""

    def __init__(self, body: bytes) -> None:
        self.body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self.body
        raise httpx.ReadError("connection reset")


def cut(body: bytes) -> Callable[[httpx.Request], httpx.Response]:
    """An answer that breaks off after `body`."""

    def give(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, stream=Cut(body), headers={"content-type": "text/event-stream"})

    return give


@dataclass
class Door:
    """A client with everything round it that a test looks at."""

    client: ModelClient
    books: Books
    requests: list[httpx.Request] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    events: list[StreamEvent] = field(default_factory=list)

    async def ask(self, request: Request = ASK, context: CallContext = MAIN) -> Reply:
        return await self.client.complete(request, context, on_event=self.events.append)

    async def __aenter__(self) -> Door:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.client.aclose()
        # An aborted socket is closed in the loop's next round.
        await asyncio.sleep(0)

    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(request.content) for request in self.requests]


def door(
    *answers: httpx.Response | Exception | Callable[[httpx.Request], httpx.Response],
    endpoint: Endpoint = ENDPOINT,
    network: bool = False,
    **options: Any,
) -> Door:
    """A door whose endpoint gives these answers in order (the last repeats); with `network` it really connects."""
    books, waiting, requests, notices = Books(), list(answers), [], []

    def handle(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        found = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        if isinstance(found, Exception):
            raise found
        return found if isinstance(found, httpx.Response) else found(request)

    settings: dict[str, Any] = {
        "catalogue": Catalogue(),
        "memory": QuirkMemory(),
        "retry": FAST,
        "clocks": Clocks(),
        "transport": None if network else httpx.MockTransport(handle),
        "dialects": {endpoint.name: TinyDialect()},
        "notice": lambda code, text: notices.append(text),
    }
    client = ModelClient({endpoint.name: endpoint}, books, **(settings | options))
    return Door(client, books, requests, notices)


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]


@asynccontextmanager
async def server(handler: Handler, **options: Any) -> AsyncIterator[Endpoint]:
    """A loopback server; `handler` gets each connection. Gives an endpoint that points to it."""
    writers: list[asyncio.StreamWriter] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        await handler(reader, writer)

    running = await asyncio.start_server(handle, "127.0.0.1", 0, **options)
    port = running.sockets[0].getsockname()[1]
    scheme = "https" if options.get("ssl") else "http"
    try:
        yield ENDPOINT.with_(base_url=f"{scheme}://127.0.0.1:{port}/v1")
    finally:
        running.close()
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0)


async def take_request(reader: asyncio.StreamReader) -> bytes:
    """Read one HTTP request and return its body."""
    head = await reader.readuntil(b"\r\n\r\n")
    lengths = [line.split(b":")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
    return await reader.readexactly(int(lengths[0])) if lengths else b""


HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    """One piece of a chunked body; an empty one ends it."""
    return b"%x\r\n%s\r\n" % (len(data), data)
