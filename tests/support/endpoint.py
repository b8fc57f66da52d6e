"""A scripted model server: Chat Completions, Anthropic Messages and Responses over HTTP, on loopback, in a thread of its own.

    with ScriptedEndpoint(Script(models={"m": Behaviour(steps=(Say(text="hi"),))})) as endpoint:
        …  # endpoint.base_url goes into a config; endpoint.calls("m") is what came in

By hand: `python -m tests.support.endpoint [--script FILE.json] [--port N]` prints its base URL and serves until it is stopped;
`GET /log` shows what it has seen. What it says is decided by script.py; what it reports as cached by prefix_cache.py.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support import decide, wire, wire_responses
from tests.support.exchange import Exchange
from tests.support.prefix_cache import PrefixCache
from tests.support.prompt import dialect_of
from tests.support.script import Behaviour, Say, Script, read_script
from tests.support.waiting import LONG_S

FRAMES: dict[str, Callable[[wire.Said], Iterable[wire.Frame]]] = {
    "chat": wire.chat_frames,
    "messages": wire.anthropic_frames,
    "responses": wire_responses.frames,
}
BODIES: dict[str, Callable[[wire.Said], dict[str, Any]]] = {
    "chat": wire.chat_body,
    "messages": wire.anthropic_body,
    "responses": wire_responses.body,
}
REASONS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 429: "Too Many Requests"}


class ScriptedEndpoint:
    """The server. `script` may be replaced at any time; it holds for requests that come after."""

    def __init__(self, script: Script | None = None, *, port: int = 0) -> None:
        self.script = script or Script()
        self.exchanges: list[Exchange] = []
        self.open_connections = 0
        self.cache = PrefixCache()
        self._port = port
        self._changed = threading.Condition()
        self._loop: asyncio.AbstractEventLoop
        self._thread: threading.Thread
        self._server: asyncio.Server | None = None
        self._connections: set[_Connection] = set()

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="scripted endpoint", daemon=True)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    @property
    def url(self) -> str:
        """`http://127.0.0.1:PORT`."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def base_url(self) -> str:
        """What a config calls `base_url`."""
        return f"{self.url}/v1"

    def calls(self, model: str | None = None) -> list[Exchange]:
        """The model calls seen so far, in order of arrival; of one model, if named."""
        return [seen for seen in list(self.exchanges) if seen.is_call and model in (None, seen.model)]

    def clear(self) -> None:
        """Forget what was seen, and the cache."""
        self.exchanges.clear()
        self.cache = PrefixCache()

    def wait_for(self, condition: Callable[[], Any], timeout_s: float = LONG_S) -> None:
        """Wait until something that the endpoint notes makes `condition` true. Raises TimeoutError, with what was seen."""
        with self._changed:
            if not self._changed.wait_for(condition, timeout_s):
                seen = [(exchange.model, exchange.status, exchange.disconnected) for exchange in self.exchanges]
                raise TimeoutError(f"not within {timeout_s} s; seen: {seen}")

    def changed(self) -> None:
        """Wake those who wait. Called by connections, on the server's thread."""
        with self._changed:
            self._changed.notify_all()

    def decided(self, exchange: Exchange) -> tuple[Say, wire.Said | None, str | None, str | None]:
        """What becomes of a model call: what the script says, the answer (None: refused), the refusal's text and its code."""
        if objection := self.objection(exchange):
            return Say(status=400), None, objection, None
        body, script = decide.as_chat(exchange.body), self.script
        say, refusal = decide.choose(script, body, len(self.calls(exchange.model)) - 1)
        exchange.prompt_tokens, exchange.cached_tokens = self.cache.take(exchange.model, exchange.body)
        behaviour = script.models.get(exchange.model)
        if isinstance(behaviour, Behaviour) and behaviour.window and exchange.prompt_tokens > behaviour.window:
            text = (
                f"This model's maximum context length is {behaviour.window} tokens, you sent {exchange.prompt_tokens}."
            )
            return Say(status=400), None, text, "context_length_exceeded"
        if say.status is not None:
            return say, None, refusal, None
        said = decide.said(say, body, exchange.number, exchange.prompt_tokens, exchange.cached_tokens)
        said = self.answered(exchange, said)
        exchange.said, exchange.completion_tokens = said.text, said.completion_tokens
        return said.say, said, None, None

    # What a server with a mind of its own overrides (signing.py).

    def objection(self, exchange: Exchange) -> str | None:
        """Why this request is refused whatever the script says; None where it is not."""
        return None

    def answered(self, exchange: Exchange, said: wire.Said) -> wire.Said:
        """The answer as it goes out."""
        return said

    def counted(self, exchange: Exchange) -> tuple[int, dict[str, Any]]:
        """The answer to `count_tokens`: a status and a body."""
        return 404, decide.error_body(404, f"nothing at {exchange.path}", anthropic=True)

    async def _start(self) -> None:
        self._server = await self._loop.create_server(lambda: _Connection(self), "127.0.0.1", self._port, backlog=256)
        self._port = self._server.sockets[0].getsockname()[1]

    async def _stop(self) -> None:
        assert self._server is not None
        self._server.close()
        answering = [connection.answering for connection in self._connections if connection.answering]
        for connection in list(self._connections):
            connection.close()
        for task in answering:
            task.cancel()
        await asyncio.gather(*answering, return_exceptions=True)
        await asyncio.sleep(0)  # connection_lost callbacks

    def joined(self, connection: _Connection) -> None:
        """A client connected."""
        self._connections.add(connection)
        self.open_connections += 1
        self.changed()

    def left(self, connection: _Connection) -> None:
        """A connection is gone."""
        self._connections.discard(connection)
        self.open_connections -= 1
        self.changed()


class _Connection(asyncio.Protocol):
    """One client connection: HTTP/1.1 with keep-alive, one request at a time."""

    def __init__(self, endpoint: ScriptedEndpoint) -> None:
        self._endpoint = endpoint
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._first_byte: float | None = None
        self._exchange: Exchange | None = None
        self.answering: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._endpoint.joined(self)

    def connection_lost(self, exc: Exception | None) -> None:
        exchange, self._transport = self._exchange, None
        if exchange is not None and exchange.finished is None:
            exchange.disconnected = time.monotonic()
        if self.answering is not None:
            self.answering.cancel()
        self._endpoint.left(self)

    def close(self) -> None:
        """Close the connection, from our side; what was written still goes out."""
        self._exchange = None
        if self._transport is not None:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        if self._first_byte is None:
            self._first_byte = time.monotonic()
        self._buffer += data
        head, blank, rest = self._buffer.partition(b"\r\n\r\n")
        if not blank:
            return
        request_line, *header_lines = head.decode("latin-1").split("\r\n")
        headers = {name.strip().lower(): value.strip() for name, _, value in (h.partition(":") for h in header_lines)}
        length = int(headers.get("content-length", 0))
        if len(rest) < length:
            return
        self._buffer = rest[length:]
        method, path, _ = request_line.split(" ", 2)
        exchange = Exchange(
            number=len(self._endpoint.exchanges) + 1,
            method=method,
            path=path.partition("?")[0],
            headers=headers,
            body=json.loads(rest[:length] or b"{}"),
            raw=rest[:length],
            first_byte=self._first_byte,
            arrived=time.monotonic(),
        )
        self._first_byte = None
        self._exchange = exchange
        self._endpoint.exchanges.append(exchange)
        self._endpoint.changed()
        self.answering = asyncio.get_running_loop().create_task(self._answer(exchange))

    async def _answer(self, exchange: Exchange) -> None:
        """Answer, and note the end. A client that leaves cancels this task."""
        with suppress(ConnectionResetError):
            try:
                await self._route(exchange)
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                # A body that no client sends: as with any server, nobody waits for an answer to it.
                self._refuse(exchange, Say(status=400), f"this can't be read: {type(error).__name__}: {error}")
        self._endpoint.changed()

    async def _route(self, exchange: Exchange) -> None:
        if exchange.method == "POST" and exchange.path.endswith(("/chat/completions", "/messages", "/responses")):
            await self._call(exchange)
        elif exchange.path.endswith("/count_tokens"):
            self._json(exchange, *self._endpoint.counted(exchange))
        elif exchange.path.endswith("/models") and self._wrong_key(exchange):
            # As most providers do; OpenRouter lists its models to anybody.
            self._refuse(exchange, Say(status=401), "Incorrect API key provided")
        elif exchange.path.endswith("/models"):
            self._json(exchange, 200, model_list(self._endpoint.script))
        elif exchange.path == "/health":
            self._json(exchange, 200, {"status": "ok"})
        elif exchange.path == "/log":
            self._json(exchange, 200, [seen.as_json() for seen in self._endpoint.exchanges if seen is not exchange])
        else:
            self._json(exchange, 404, decide.error_body(404, f"nothing at {exchange.path}", anthropic=False))

    def _wrong_key(self, exchange: Exchange) -> bool:
        key = self._endpoint.script.api_key
        return key is not None and key not in keys_of(exchange)

    async def _call(self, exchange: Exchange) -> None:
        """One model call."""
        if self._wrong_key(exchange):
            return self._refuse(exchange, Say(status=401), "Incorrect API key provided")
        say, said, refusal, code = self._endpoint.decided(exchange)
        if said is None:
            await self._until(exchange.arrived + say.ttft_s)
            return self._refuse(exchange, say, refusal, code=code)
        if say.shape == "refuse":
            return self.close()
        dialect = dialect_of(exchange.path)
        if say.body or say.shape == "body_error" or not exchange.body.get("stream"):
            await self._until(exchange.arrived + say.ttft_s + say.spread_s)
            exchange.first_token = time.monotonic()
            return self._json(exchange, 200, BODIES[dialect](said), padded=say.padding)
        await self._stream(exchange, say, FRAMES[dialect](said))
        return None

    async def _stream(self, exchange: Exchange, say: Say, frames: Iterable[wire.Frame]) -> None:
        """Send frames at their times; then end, or break, as the script says."""
        exchange.status = 200
        head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n"
        self._write(f"{head}x-generation-id: gen-{exchange.number}\r\n\r\n".encode())
        self._endpoint.changed()
        if say.shape in ("hang", "mute"):
            return await self._never(keepalive=say.shape == "mute")
        for at in range(say.keepalives):
            await self._until(exchange.arrived + say.ttft_s * at / say.keepalives)
            self._chunk(b": keep-alive\n\n")
        if say.padding:
            self._chunk(b"\n\n: padding\n\n")
        waiting = list(frames)
        steps = max(1, sum(frame.token for frame in waiting) - 1)
        ready, token = b"", 0
        for frame in waiting:
            due = exchange.arrived + say.ttft_s + say.spread_s * token / steps
            if frame.token and due > time.monotonic():
                self._chunk(ready)
                ready = b""
                await self._until(due)
            if frame.token and exchange.first_token is None:
                exchange.first_token = time.monotonic()
                self._endpoint.changed()
            token += frame.token
            ready += frame.data
        self._chunk(ready)
        if say.shape == "stall":
            return await self._never(keepalive=True)
        exchange.finished = time.monotonic()
        if say.shape == "cut":
            return self.close()  # without the last chunk: the transfer is incomplete
        self._write(b"0\r\n\r\n")
        return None

    def _refuse(self, exchange: Exchange, say: Say, message: str | None = None, *, code: str | None = None) -> None:
        """A status other than 200, in the dialect's envelope."""
        status = say.status or 400
        text = message or say.error or f"scripted refusal of {exchange.model} ({status})"
        if status == 404 and message is None:
            text, code = f"The model `{exchange.model}` does not exist", "model_not_found"
        anthropic = exchange.path.endswith("/messages")
        extra = {} if say.retry_after is None else {"retry-after": f"{say.retry_after:g}"}
        self._json(exchange, status, decide.error_body(status, text, anthropic=anthropic, code=code), extra=extra)

    def _json(
        self, exchange: Exchange, status: int, value: Any, *, extra: dict[str, str] | None = None, padded: bool = False
    ) -> None:
        body = json.dumps(value, ensure_ascii=False).encode()
        if padded:
            body = b"\n\n   \n: keep-alive\n\n" + body + b"\ndata: [DONE]\n\n"
        headers = {"content-type": "application/json", "content-length": str(len(body)), **(extra or {})}
        lines = "".join(f"{name}: {text}\r\n" for name, text in headers.items())
        exchange.status = status
        exchange.finished = time.monotonic()
        self._write(f"HTTP/1.1 {status} {REASONS.get(status, 'Scripted')}\r\n{lines}\r\n".encode() + body)

    def _chunk(self, data: bytes) -> None:
        if data:
            self._write(b"%x\r\n%b\r\n" % (len(data), data))

    def _write(self, data: bytes) -> None:
        if self._transport is None:
            raise ConnectionResetError
        self._transport.write(data)

    async def _until(self, due: float) -> None:
        delay = due - time.monotonic()
        if delay > 0:
            await asyncio.sleep(delay)

    async def _never(self, *, keepalive: bool) -> None:
        """Until the client leaves, which cancels this."""
        while True:
            await asyncio.sleep(0.05 if keepalive else 3600)
            self._chunk(b": keep-alive\n\n")


def keys_of(exchange: Exchange) -> tuple[str, str]:
    """The keys that a request carries, in either dialect's header."""
    return exchange.headers.get("authorization", "").removeprefix("Bearer "), exchange.headers.get("x-api-key", "")


def model_list(script: Script) -> dict[str, Any]:
    """GET /models: what the script names, with window and prices where it says them."""
    rows = []
    for name, behaviour in script.models.items():
        row: dict[str, Any] = {"id": name, "object": "model", "owned_by": "scripted"}
        if isinstance(behaviour, Behaviour):
            row |= {"context_length": behaviour.context_length} if behaviour.context_length else {}
            row |= {"pricing": behaviour.pricing} if behaviour.pricing else {}
        rows.append(row)
    return {"object": "list", "data": rows}


def main() -> None:
    """Serve until stopped (Ctrl+C)."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.support.endpoint", description="A scripted model server on loopback."
    )
    parser.add_argument("--script", type=Path, help="JSON: models and what they say (see tests/support/script.py)")
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args()
    script = read_script(options.script) if options.script else None
    with ScriptedEndpoint(script, port=options.port) as endpoint, suppress(KeyboardInterrupt):
        print(endpoint.base_url, flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
