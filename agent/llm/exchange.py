"""One attempt of a call: one HTTP request and the answer to it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from agent.llm.http import IDENTITY, as_model_error, joined, load_httpx

if TYPE_CHECKING:
    import httpx

    from agent.llm.dialects.base import Decoder, Dialect
    from agent.llm.endpoint import Endpoint
    from agent.llm.http import Http
    from agent.llm.request import Request
    from agent.llm.stream import Reply, StreamEvent

# What ends an answer, whether or not the server closes the stream after it: the data (Chat Completions) or the event (Anthropic Messages).
LAST_DATA = "[DONE]"
LAST_EVENT = "message_stop"

GENERATION_HEADER = "x-generation-id"
REFUSAL_BYTES = 1_000_000


class Exchange:
    """Sends a request and reads what comes back. Every method may raise ModelError; none of them waits with a clock of its own.

    `chargeable` is True from the moment the request may have reached the endpoint until the endpoint refuses it.
    """

    def __init__(
        self, dialect: Dialect, decoder: Decoder, endpoint: Endpoint, headers: Mapping[str, str] | None = None
    ) -> None:
        self.decoder = decoder
        self.chargeable = False
        self.generation_id: str | None = None
        self._dialect = dialect
        self._endpoint = endpoint
        self._headers = headers or {}
        self._response: httpx.Response | None = None
        self._events: AsyncIterator[Any] | None = None
        self._over = False

    async def open(self, http: Http, request: Request, quirks: frozenset[str], connect_s: float) -> None:
        """Send the request and wait for the head of the answer. Raises the refusal, classified, where there is one."""
        endpoint, dialect = self._endpoint, self._dialect
        body = encode_json(dialect.encode(request, endpoint, quirks))
        url = endpoint.base_url.rstrip("/") + dialect.path
        httpx = load_httpx()
        try:
            client = http.client(endpoint, url)
            # A compressed stream would wait in the compressor's buffer.
            ours = {"accept-encoding": "identity", "content-type": "application/json"}
            headers = joined(IDENTITY, ours, self._headers, dialect.headers(endpoint))
            outgoing = client.build_request(
                "POST", url, content=body, headers=headers, timeout=httpx.Timeout(None, connect=connect_s)
            )
            self.chargeable = True
            self._response = await client.send(outgoing, stream=True)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            self.chargeable = False
            raise as_model_error(error, endpoint, answered=False) from error
        except httpx.HTTPError as error:
            raise as_model_error(error, endpoint, answered=False) from error
        await self._head(self._response)

    async def read(self) -> list[StreamEvent] | None:
        """The next events, perhaps none (a keep-alive); None once the answer is over."""
        if self._over:
            return None
        httpx = load_httpx()
        try:
            return await self._read()
        except httpx.HTTPError as error:
            raise as_model_error(error, self._endpoint, answered=True) from error

    def finish(self) -> Reply:
        """The whole answer, once `read` gave None."""
        return self.decoder.finish()

    async def aclose(self) -> None:
        """Close the answer; before its end that closes the socket."""
        response, self._response = self._response, None
        events, self._events = self._events, None
        if events is not None:
            with suppress(Exception):
                await events.aclose()  # type: ignore[attr-defined]
        if response is not None:
            with suppress(Exception):
                await response.aclose()

    async def _head(self, response: httpx.Response) -> None:
        if not response.is_success:
            self.chargeable = False
            body = await _beginning(response, REFUSAL_BYTES)
            raise self._dialect.classify(response.status_code, response.headers, body, self._endpoint)
        self.generation_id = response.headers.get(GENERATION_HEADER)
        self.decoder.headers(response.headers)

    async def _read(self) -> list[StreamEvent] | None:
        response = self._response
        assert response is not None
        if self._events is None:
            kind = response.headers.get("content-type", "").lower()
            if "event-stream" not in kind:
                body = await response.aread()
                if "json" in kind or body.lstrip()[:1] in (b"{", b"<"):
                    self._over = True
                    return self.decoder.feed_body(body)
                # An event stream under a wrong name.
                response.headers["content-type"] = "text/event-stream"
            from httpx_sse import EventSource

            self._events = EventSource(response).aiter_sse()
        event = await anext(self._events, None)
        if event is None:
            self._over = True
            return None
        if event.data.strip() == LAST_DATA or event.event == LAST_EVENT:
            self._over = True
        found = self.decoder.feed(event.event, event.data)
        self.generation_id = self.generation_id or self.decoder.generation_id
        return found


def encode_json(body: dict[str, Any]) -> bytes:
    """A JSON body as UTF-8. A lone surrogate (half of an emoji, cut by somebody) has no UTF-8 form: the body is then sent as ASCII."""
    try:
        return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        return json.dumps(body, separators=(",", ":")).encode()


async def _beginning(response: httpx.Response, limit: int) -> bytes:
    """As much of a refusal's body as there is, up to a limit; whatever breaks meanwhile, the status is what counts."""
    body = b""
    with suppress(load_httpx().HTTPError):
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) >= limit:
                break
    return body
