"""What the dialects over HTTP share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from agent.llm.body import plain
from agent.llm.dialects.base import Decoder, Dialect, Exchange
from agent.llm.errors import ModelError
from agent.llm.models.endpoint import Endpoint
from agent.llm.request import Request


class HttpDialect:
    """What the dialects over HTTP share, unless they say otherwise: a bearer key, the known error envelopes, and words for the usual alone."""

    list_path = "/models"
    controls: frozenset[str] = frozenset()
    tiers: Mapping[str, str] | None = None
    words_alone = False
    tool_images = True
    result_errors = False

    def compose(
        self, request: Request, endpoint: Endpoint, quirks: frozenset[str], left: list[str] | None = None
    ) -> dict[str, Any]:
        """The body of pieces: each dialect's own."""
        raise NotImplementedError

    def encode(
        self, request: Request, endpoint: Endpoint, quirks: frozenset[str], left: list[str] | None = None
    ) -> dict[str, Any]:
        """The same body as plain JSON values that nobody else has."""
        body: dict[str, Any] = plain(self.compose(request, endpoint, quirks, left))
        return body

    def headers(self, endpoint: Endpoint) -> dict[str, str]:
        """A bearer key, where there is one, and the endpoint's own headers."""
        headers = {"Accept": "text/event-stream"}
        if endpoint.api_key:
            headers["Authorization"] = f"Bearer {endpoint.api_key}"
        return {**headers, **endpoint.headers}

    def searches(self, endpoint: Endpoint) -> bool:
        """No."""
        return False

    def betas(self, body: Mapping[str, Any], headers: Mapping[str, str]) -> Mapping[str, str]:
        """Headers without which something in this body would be refused, beside the dialect's own. None, for most."""
        return {}

    def exchange(self, decoder: Decoder, endpoint: Endpoint, headers: Mapping[str, str] | None = None) -> Exchange:
        """One HTTP request."""
        from agent.llm.net.exchange import HttpExchange

        return HttpExchange(cast("Dialect", self), decoder, endpoint, headers)

    def classify(
        self,
        status: int,
        headers: Mapping[str, str],
        body: bytes,
        endpoint: Endpoint | None = None,
        sent: Mapping[str, Any] | None = None,
    ) -> ModelError:
        """A refused request as a named error."""
        # Most calls are not refused, and this module is loaded before the first request is sent.
        from agent.llm.refusals.refusal import classify

        return classify(status, headers, body, endpoint, sent)
