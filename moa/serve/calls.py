"""The three routes of calls, as ASGI applications: read the request, watch the client, answer, and say what went wrong in its own shape."""

from __future__ import annotations

import asyncio
import json
import sys
import traceback
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from agent.errors import StateError
from agent.ledger.fair_thread import ACCOUNT
from agent.llm.errors import ModelError
from moa.serve.bodies import Gone, Receive, aside, read_body, read_object
from moa.serve.passing import broken, pass_on
from moa.serve.reply import Reply
from moa.serve.translating import translate
from moa.serve.wires.registry import wire_named

if TYPE_CHECKING:
    from moa.serve.keys.account import Account
    from moa.serve.seen.seen import Request
    from moa.serve.server import Call, Server

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

DRAIN_S = 5.0
DRAIN_BYTES = 256 * 2**20


class Calls:
    """One route. `counting`: only the tokens of a request are asked for."""

    def __init__(self, server: Server, wire: str, *, counting: bool = False) -> None:
        self.server = server
        self.wire = wire
        self.counting = counting

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request. The client leaving ends the work, and with it every socket that it has open."""
        headers = headers_of(scope)
        reply = Reply(send)
        reply.extra = self.server.door.cors(headers)
        seen = self.server.seen.begin(scope["method"], scope["path"], self.wire, headers)
        try:
            with seen.current():
                await self._serve(scope, headers, receive, reply, seen)
        finally:
            reply.stop()
            seen.end(reply.status)

    async def _serve(
        self, scope: Scope, headers: Mapping[str, str], receive: Receive, reply: Reply, seen: Request
    ) -> None:
        raw: bytes | None = None
        try:
            await self.server.door.refresh()
            account = seen.account = self.server.door.check(headers)
            ACCOUNT.set(account.id)
            raw = await read_body(receive, headers, self.server.settings.body_mb * 2**20)
            body = await aside(raw, partial(read_object, raw))
        except Gone:
            return
        except Exception as error:
            if raw is None:  # where all of it was read, only the client's going would be waited for
                await _drain(receive)
            await self._fail(reply, error, seen, close=True)
            return
        with _Watch(receive):
            await self._answer(scope, headers, body, raw, account, reply, seen)

    async def _answer(
        self,
        scope: Scope,
        headers: Mapping[str, str],
        body: dict[str, Any],
        raw: bytes,
        account: Account,
        reply: Reply,
        seen: Request,
    ) -> None:
        try:
            query = scope.get("query_string", b"").decode("latin-1")
            call = await self.server.read(self.wire, body, raw, headers, query, counting=self.counting, account=account)
            seen.call = call
            reply.told = lambda: call.told
            await self._dispatch(call, reply)
        except (OSError, TimeoutError):
            # The client does not read, or its socket is gone; what the upstream does is a ModelError.
            return
        except Exception as error:
            await self._fail(reply, error, seen)

    async def _dispatch(self, call: Call, reply: Reply) -> None:
        if self.counting:
            from moa.serve.counting import count

            await count(call, reply)
        elif call.same_wire:
            await pass_on(call, reply)
        else:
            await translate(call, reply)

    async def _fail(self, reply: Reply, error: Exception, seen: Request, *, close: bool = False) -> None:
        """Say it in the client's own shape."""
        seen.error = str(getattr(error, "kind", None) or type(error).__name__)
        if not isinstance(error, ModelError) and wire_named(self.wire).error(error)[0] in (500, 503):
            log_fault(self.server, error)
        with suppress(OSError, TimeoutError):
            if reply.begun:
                await reply.end(self._redacted(broken(self.wire, error, None)))
                return
            status, body, headers = wire_named(self.wire).error(error)
            data = self._redacted(json.dumps(body, ensure_ascii=False).encode("utf-8", "replace"))
            if close:
                headers = {**headers, "connection": "close"}
            await reply.body(status, data, {"content-type": "application/json", **headers})

    def _redacted(self, data: bytes) -> bytes:
        return self.server.config.redact(data.decode("utf-8", "replace")).encode("utf-8", "replace")


def log_fault(server: Server, error: Exception) -> None:
    """What is a fault of ours, or of what the server stands on, goes to standard error, without any key."""
    if isinstance(error, StateError):
        text = f"· {error.message}" + (f" ({error.remedy})" if error.remedy else "")
    else:
        text = "".join(traceback.format_exception(error))
    print(server.config.redact(text), file=sys.stderr, flush=True)


def headers_of(scope: Scope) -> dict[str, str]:
    """A request's headers by their lower names; of one that stands there twice the first."""
    found: dict[str, str] = {}
    for name, value in scope["headers"]:
        key = name.decode("latin-1").lower()
        if key in found and key == "anthropic-beta":
            found[key] += "," + value.decode("latin-1")
        else:
            found.setdefault(key, value.decode("latin-1"))
    return found


async def _drain(receive: Receive) -> None:
    """Read on what a refused client is sending: closing on it would take the refusal away from it."""
    size = 0
    with suppress(TimeoutError):
        async with asyncio.timeout(DRAIN_S):
            while size < DRAIN_BYTES:
                message = await receive()
                size += len(message.get("body", b""))
                if message["type"] == "http.disconnect" or not message.get("more_body"):
                    return


class _Watch:
    """Watches the client while it is answered: when it leaves, what is done within is stopped, and nothing more is said of that."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._left = False

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task, self._before = task, task.cancelling()
        self._looking = asyncio.create_task(self._look(), name="whether the client is there")

    def __exit__(self, kind: type[BaseException] | None, *_raised: object) -> bool:
        self._looking.cancel()
        return self._left and self._task.uncancel() <= self._before and kind is asyncio.CancelledError

    async def _look(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._left = True
        self._task.cancel()
