"""What the server says of itself: models, activity, health, figures, and what it can be asked."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from agent.errors import StateError, UsageError
from agent.ledger.activity import parse_since
from agent.ledger.fair_thread import ACCOUNT
from agent.llm.errors import AuthError
from agent.llm.money import Total
from agent.text.numbers import whole_number
from moa import __version__
from moa.serve.bodies import Receive
from moa.serve.calls import Scope, Send, headers_of, log_fault
from moa.serve.fusion.prepare import router_preset
from moa.serve.guidance.rows import receipts
from moa.serve.reply import Reply
from moa.serve.seen import metrics as figures
from moa.serve.wires.registry import wire_named

if TYPE_CHECKING:
    from moa.serve.keys.account import Account
    from moa.serve.server import Server

Page = Callable[["Server", Mapping[str, str], "Account"], Awaitable[tuple[int, Any, str]]]

JSON = "application/json"
MOST_CALLS = 1000
_SINCE = 1_700_000_000


class Info:
    """One page. `free`: it is shown without the key."""

    def __init__(self, server: Server, page: Page, *, free: bool = False) -> None:
        self.server = server
        self.page = page
        self.free = free

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve it."""
        headers = headers_of(scope)
        reply = Reply(send)
        reply.extra = self.server.door.cors(headers)
        try:
            if not self.free:
                await self.server.door.refresh()
            account = self.server.door.check(headers, free=self.free)
            ACCOUNT.set(account.id)
            asked = {name: values[-1] for name, values in parse_qs(scope["query_string"].decode("latin-1")).items()}
            asked |= scope.get("path_params", {})
            status, body, kind = await self.page(self.server, asked, account)
        except Exception as error:
            wire = "messages" if "anthropic-version" in headers else "chat"
            status, body, _more = wire_named(wire).error(error)
            kind = JSON
            if isinstance(error, StateError):
                log_fault(self.server, error)
            elif status == 500:
                raise
        data = (
            body.encode() if isinstance(body, str) else json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")
        )
        data = self.server.config.redact(data.decode()).encode()
        if scope["method"] == "HEAD":
            await reply.head(status, {"content-type": kind, "content-length": str(len(data))})
            await reply.end()
        else:
            await reply.body(status, data, {"content-type": kind})


async def root(_server: Server, _asked: Mapping[str, str], _account: Account) -> tuple[int, Any, str]:
    """`HEAD /`, with which Claude Code begins."""
    return 200, {"moa": __version__}, JSON


async def health(_server: Server, _asked: Mapping[str, str], _account: Account) -> tuple[int, Any, str]:
    """That it lives."""
    return 200, {"status": "ok", "version": __version__}, JSON


async def models(server: Server, _asked: Mapping[str, str], account: Account) -> tuple[int, Any, str]:
    """The names that can be asked for, in the shape of both vendors."""
    data = [_model(name, owner) for name, owner in server.names.seen_by(account).listed()]
    ends = {"first_id": data[0]["id"], "last_id": data[-1]["id"]} if data else {"first_id": None, "last_id": None}
    return 200, {"object": "list", "data": data, "has_more": False, **ends}, JSON


async def model(server: Server, asked: Mapping[str, str], account: Account) -> tuple[int, Any, str]:
    """One of them. Raises UsageError and ModelNotFound."""
    named = await server.names.seen_by(account).find(asked["name"])
    if named.preset is not None or router_preset(asked["name"]) is None:
        account.check(named.main, named.preset.name if named.preset else None, own=named.own)
    return 200, _model(asked["name"], "moa" if named.preset else named.main.endpoint), JSON


def _model(name: str, owner: str) -> dict[str, Any]:
    made = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(_SINCE))
    return {
        "id": name, "object": "model", "created": _SINCE, "owned_by": owner,
        "type": "model", "display_name": name, "created_at": made,
    }  # fmt: skip


async def activity(server: Server, asked: Mapping[str, str], account: Account) -> tuple[int, Any, str]:
    """The key's own calls, of a run, a session, or since some time; without any of these, today's. Raises UsageError."""
    unknown = set(asked) - {"run", "session", "since", "limit"}
    if unknown:
        raise UsageError(f"/v1/activity knows no {min(unknown)!r}", remedy="ask with run, session, since or limit")
    run, session = asked.get("run"), asked.get("session")
    since = asked.get("since") or (None if run or session else "today")
    given = asked.get("limit", str(MOST_CALLS))
    if not (limit := whole_number(given, 100_000)):
        raise UsageError(f"limit is {given[:40]!r}", remedy="use a whole number from 1 to 100000")
    calls = partial(
        server.ledger.calls,
        session=session,
        run=run,
        since=None if since is None else parse_since(since),
        account=account.id,
        newest=limit,
    )
    rows = await server.ledger.patiently(calls)
    total = Total.of(row.cost_nano for row in rows)
    cost = {"usd": total.usd, "lower_bound": total.lower_bound}
    found = {"schema": 1, "cost": cost, "calls": [row.as_json() for row in rows]}
    if run or session:
        conversations = dict.fromkeys(row.session for row in rows if row.session)
        told = partial(receipts, server.ledger.database)
        taken = [each for name in conversations for each in await server.ledger.patiently(partial(told, name))]
        found["counsel"] = [facts for facts in taken if run is None or facts.get("run") == run]
    return 200, found, JSON


async def metrics(server: Server, _asked: Mapping[str, str], account: Account) -> tuple[int, Any, str]:
    """Figures of all keys in Prometheus' text format, for the server's own key alone. Raises AuthError."""
    if not account.is_own:
        raise AuthError("the figures of all keys are for the server's own key", status=403, remedy="see /v1/activity")
    sums = await server.ledger.patiently(partial(figures.read, server.ledger))
    return 200, server.seen.metrics.text(sums), "text/plain; version=0.0.4; charset=utf-8"


async def openapi(_server: Server, _asked: Mapping[str, str], _account: Account) -> tuple[int, Any, str]:
    """What can be asked."""
    from moa.serve.seen.openapi import document

    return 200, document(), JSON
