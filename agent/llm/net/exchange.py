"""One attempt of a call: one HTTP request and the answer to it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from agent.llm.body import encode_json, plain
from agent.llm.dialects.base import Exchange
from agent.llm.errors import AnswerTooLong, BadAnswer, BadRequest, ModelError, Unsupported
from agent.llm.net import limits, sse
from agent.llm.net.http import (
    IDENTITY,
    JSON_PLAIN,
    as_model_error,
    beginning,
    foreign_encoding,
    joined,
    load_httpx,
    post,
)
from agent.llm.net.incoming import WAIT, Incoming

if TYPE_CHECKING:
    import httpx

    from agent.llm.dialects.base import Decoder, Dialect
    from agent.llm.models.endpoint import Endpoint
    from agent.llm.net.http import Http
    from agent.llm.request import Request
    from agent.llm.stream import StreamEvent

GENERATION_HEADER = "x-generation-id"
_AT_ONCE = 64
"""So many events that have come already are read between two looks at the clocks."""


class HttpExchange(Exchange):
    """Sends a request and reads what comes back. `chargeable` is True from the moment the request may have reached the endpoint."""

    def __init__(
        self, dialect: Dialect, decoder: Decoder, endpoint: Endpoint, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(dialect, decoder, endpoint, headers)
        self._response: httpx.Response | None = None
        self._incoming: Incoming | None = None
        self._composed: dict[str, Any] | None = None
        self._fed = False
        self._over = False
        self._failed: Exception | None = None

    async def open(self, http: Http, request: Request, quirks: frozenset[str], connect_s: float) -> None:
        """Send the request and wait for the head of the answer. Raises the refusal, classified, where there is one."""
        endpoint, dialect = self._endpoint, self._dialect
        self._composed = dialect.compose(request, endpoint, quirks, self.left)
        self.items = dialect.items(self._composed)
        body = encode_json(self._composed)
        own = dialect.headers(endpoint)
        headers = joined(IDENTITY, JSON_PLAIN, self._headers, own, dialect.betas(self._composed, own))
        self._response = await post(http, endpoint, dialect.path, headers, body, connect_s, self._charge)
        await self._head(self._response, request)

    def _charge(self, taken: bool) -> None:
        self.chargeable = taken

    async def read(self) -> list[StreamEvent] | None:
        """The next events, perhaps none (a keep-alive); None once the answer is over."""
        incoming = self._incoming
        if self._over or incoming is None:
            return None
        try:
            return await self._next(incoming)
        except Unsupported as error:
            from agent.llm.refusals.carried import carries

            sent = self._sent()
            # In an answer of 200, where the decoder does not know what was sent.
            if any(carries(feature, sent) for feature in error.features):
                raise
            raise BadRequest(error.message, status=error.status) from error
        except load_httpx().HTTPError as error:
            raise self._broken(as_model_error(error, self._endpoint, answered=True)) from error
        except sse.TooLong as error:
            raise self._broken(self._too_long(str(error))) from error

    async def _next(self, incoming: Incoming) -> list[StreamEvent] | None:
        """All events that are here. What goes wrong behind some of them is raised when these have been told."""
        if (failed := self._failed) is not None:
            self._failed = None
            raise failed
        found: list[StreamEvent] = []
        try:
            while True:
                event = incoming.take() if incoming.waiting else await incoming.next()
                if not isinstance(event, sse.Event):
                    return [] if event is WAIT else self._end(incoming)
                found += self._feed(event)
                if self._over or not incoming.waiting or len(found) >= _AT_ONCE:
                    return found
        except Exception as error:
            if not found:
                raise
            self._failed, self._over = error, False
            return found

    async def aclose(self) -> None:
        """Close the answer; before its end that closes the socket."""
        response, self._response = self._response, None
        incoming, self._incoming = self._incoming, None
        if incoming is not None:
            with suppress(Exception):
                await incoming.aclose()
        if response is not None:
            with suppress(Exception):
                await response.aclose()

    async def _head(self, response: httpx.Response, request: Request) -> None:
        if not response.is_success:
            self.chargeable = False
            body = await beginning(response, limits.REFUSAL_BYTES)
            raise self._dialect.classify(response.status_code, response.headers, body, self._endpoint, self._sent())
        self.generation_id = response.headers.get(GENERATION_HEADER)
        if encoding := foreign_encoding(response):
            raise BadAnswer(
                f"{self._endpoint.name} answers in {encoding}, which was not asked for",
                remedy="a proxy in between compresses: switch that off, or use another base_url",
            )
        self.decoder.headers(response.headers)
        self._incoming = Incoming(response, request.max_tokens)

    def _sent(self) -> dict[str, Any] | None:
        """The request's body, against which a refusal is held."""
        sent: dict[str, Any] | None = plain(self._composed)
        return sent

    def _feed(self, event: sse.Event) -> list[StreamEvent]:
        self._fed = True
        if self._dialect.is_last(event.name, event.data):
            self._over = True
        found = self.decoder.feed(event.name, event.data)
        self.generation_id = self.generation_id or self.decoder.generation_id
        return found

    def _end(self, incoming: Incoming) -> list[StreamEvent] | None:
        """The bytes have ended: a body is read now, and so is what stood in a stream without being an event."""
        self._over = True
        if not incoming.is_stream:
            return self.decoder.feed_body(incoming.body)
        stray = incoming.stray
        if stray.strip() and (not self._fed or _is_error(stray)):
            return self.decoder.feed_body(stray.encode())
        return None

    def _broken(self, error: ModelError) -> ModelError:
        """The error, with what had come of a body, or of an event, that will not end any more."""
        incoming = self._incoming
        with suppress(ModelError, sse.TooLong):
            if incoming is not None and incoming.is_stream:
                for event in incoming.rest():
                    self.decoder.feed(event.name, event.data)
            elif incoming is not None and incoming.body.strip():
                self.decoder.feed_body(incoming.body)
        error.partial, error.usage = self.decoder.partial, self.decoder.usage
        return error

    def _too_long(self, what: str) -> AnswerTooLong:
        return AnswerTooLong(
            f"the answer of {self._endpoint.name} was cut off: {what}",
            remedy="the endpoint does not hold to max_tokens: choose another model or endpoint",
        )


def _is_error(text: str) -> bool:
    from agent.llm.answers.reading import first_object
    from agent.llm.refusals.envelope import is_error

    return is_error(first_object(text) or {})
