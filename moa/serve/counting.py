"""`/v1/messages/count_tokens`: the endpoint's own figure where it speaks this wire, else an estimate. Guidance that is in force counts."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from agent.llm.errors import TimedOut
from agent.llm.net import limits
from agent.llm.net.http import IDENTITY, as_model_error, beginning, joined, load_httpx
from moa.serve.outgoing import kept_headers, outgoing, without
from moa.serve.wires.registry import wire_named
from moa.serve.wires.usage import estimate_body

if TYPE_CHECKING:
    from moa.serve.reply import Reply
    from moa.serve.server import Call

PATH = "/messages/count_tokens"
_UNKNOWN = (404, 405, 501)
"""What endpoints say that do not count."""


async def count(call: Call, reply: Reply) -> None:
    """Answer it. Raises ModelError."""
    if not call.same_wire or not await _asked(call, reply):
        tokens = estimate_body(call.served.body())
        await reply.whole(200, wire_named(call.wire).count(tokens))


async def _asked(call: Call, reply: Reply) -> bool:
    """Ask the endpoint; False where it does not count."""
    client, endpoint = call.server.client, call.endpoint
    out = outgoing(call, call.served.body(), endpoint, path=PATH)
    httpx = load_httpx()
    url = endpoint.base_url.rstrip("/") + out.path
    headers = joined(
        IDENTITY, {"accept-encoding": "identity"}, out.headers, {"content-type": "application/json"}, endpoint.headers
    )
    try:
        async with asyncio.timeout(client.clocks.silence):
            response = await client.http.send(endpoint, "POST", url, headers, out.body, client.clocks.connect)
            try:
                body = await beginning(response, limits.REFUSAL_BYTES)
            finally:
                await response.aclose()
    except TimeoutError as error:
        what = f"{endpoint.name} counted no tokens within {client.clocks.silence:g} seconds"
        raise TimedOut(what, clock="silence") from error
    except httpx.HTTPError as error:
        raise as_model_error(error, endpoint, answered=False) from error
    if response.status_code in _UNKNOWN:
        return False
    if not response.is_success:
        raise client.dialect(endpoint).classify(response.status_code, response.headers, body, endpoint)
    kept = {**kept_headers(response.headers, endpoint), "content-type": "application/json"}
    await reply.body(200, without(body, endpoint), kept)
    return True
