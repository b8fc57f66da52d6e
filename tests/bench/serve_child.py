"""Processes of the bench of `moa serve`: `python -m tests.bench.serve_child upstream|relay PORT_OF_UPSTREAM` prints its port and serves.

`upstream` answers every call with a stream of Chat Completions, at once, or after SLOW_S where the model is called slow-…, and with an analysis
where it is called …judge. One that is called held-… is answered HELD_S after it came, and not before `GET /go`; `GET /order` gives the first word of each held call, in the order in which they came. `relay` is the least that a program in between can be: starlette,
httpx, bytes in and out, no ledger.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from typing import Any

from tests.support.script import ANALYSIS

TOKENS = 30
SLOW_S = 3.0
HELD_S = 1.0


def answer(words: Sequence[str] = ("word ",) * TOKENS) -> bytes:
    """A whole answer, chunked transfer and all."""

    def chunk(delta: dict[str, Any], finish: str | None = None, **more: Any) -> bytes:
        value = {"id": "gen-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
        choices = [{"index": 0, "delta": delta, "finish_reason": finish}]
        return b"data: " + json.dumps({**value, "choices": choices, **more}).encode() + b"\n\n"

    usage = {"prompt_tokens": 40, "completion_tokens": TOKENS, "total_tokens": 40 + TOKENS}
    events = [chunk({"role": "assistant", "content": ""}), *(chunk({"content": word}) for word in words)]
    events += [chunk({}, "stop", usage=usage), b"data: [DONE]\n\n"]
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%b\r\n" % (len(each), each) for each in events) + b"0\r\n\r\n"


class Upstream(asyncio.Protocol):
    """Reads whole requests by their length, and answers."""

    goes: asyncio.Event
    order: list[str]
    held: set[asyncio.Task[None]]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        self._buffer = b""
        self._answer = answer()
        self._analysis = answer((json.dumps({**ANALYSIS, "severity": "concern"}),))

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (at := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:at].lower()
            _before, _name, rest = head.partition(b"content-length:")
            length = int(rest.split(b"\r\n", 1)[0]) if rest else 0
            if len(self._buffer) < at + 4 + length:
                return
            body = self._buffer[at + 4 : at + 4 + length]
            self._buffer = self._buffer[at + 4 + length :]
            _before, _name, model = body.partition(b'"model":')
            name = model.split(b'"', 2)[1] if model else b""
            if head.startswith(b"get "):
                self._told(head.split()[1])
                continue
            said = self._analysis if name.endswith(b"judge") else self._answer
            if name.startswith(b"slow-"):
                asyncio.get_running_loop().call_later(SLOW_S, self._transport.write, said)
            elif name.startswith(b"held-"):
                self.order.append(json.loads(body)["messages"][-1]["content"].split()[0])
                holding = asyncio.get_running_loop().create_task(self._hold(said))
                self.held.add(holding)
                holding.add_done_callback(self.held.discard)
            else:
                self._transport.write(said)

    async def _hold(self, said: bytes) -> None:
        await asyncio.gather(self.goes.wait(), asyncio.sleep(HELD_S))
        self._transport.write(said)

    def _told(self, path: bytes) -> None:
        if path == b"/go":
            self.goes.set()
        told = json.dumps(self.order).encode()
        self._transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(told), told))


def bound() -> socket.socket:
    """A socket on loopback."""
    found = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    found.bind(("127.0.0.1", 0))
    return found


async def upstream() -> None:
    """Serve for ever."""
    own = bound()
    Upstream.goes, Upstream.order, Upstream.held = asyncio.Event(), [], set()
    server = await asyncio.get_running_loop().create_server(Upstream, sock=own, backlog=2048)
    print(own.getsockname()[1], flush=True)
    await server.serve_forever()


def relay(port: int) -> None:
    """Serve for ever."""
    import httpx
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import StreamingResponse
    from starlette.routing import Route

    client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False, limits=httpx.Limits())

    async def call(request: Request) -> StreamingResponse:
        body = await request.body()
        out = client.build_request("POST", "/v1/chat/completions", content=body)
        response = await client.send(out, stream=True)

        async def pieces() -> AsyncIterator[bytes]:
            async for piece in response.aiter_raw():
                yield piece
            await response.aclose()

        return StreamingResponse(pieces(), media_type="text/event-stream")

    own = bound()
    own.listen(2048)
    print(own.getsockname()[1], flush=True)
    app = Starlette(routes=[Route("/v1/chat/completions", call, methods=["POST"])])
    uvicorn.Server(uvicorn.Config(app, log_level="error", access_log=False, lifespan="off")).run(sockets=[own])


if __name__ == "__main__":
    if sys.argv[1] == "upstream":
        asyncio.run(upstream())
    else:
        relay(int(sys.argv[2]))
