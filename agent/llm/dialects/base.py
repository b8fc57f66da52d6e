"""What a dialect is: from a request to a body, and from the bytes that come back to stream events. No network in here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from agent.llm.endpoint import Endpoint
from agent.llm.errors import ModelError
from agent.llm.messages import Message
from agent.llm.request import Request
from agent.llm.stream import Reply, StreamEvent, Usage


class Decoder(Protocol):
    """Reads one answer. Feed it server-sent events as they come, or a whole body; then ask for the reply."""

    def headers(self, headers: Mapping[str, str]) -> None:
        """The response's headers, before anything is fed: some carry the provider's id of the call."""
        ...

    def feed(self, event: str, data: str) -> list[StreamEvent]:
        """One server-sent event. Raises StreamBroken (or another ModelError) for an error chunk, with what had arrived."""
        ...

    def feed_body(self, body: bytes) -> list[StreamEvent]:
        """A body that is one JSON object, perhaps with padding, comments or a trailing `[DONE]` around it."""
        ...

    def finish(self) -> Reply:
        """The whole answer. Raises StreamBroken where no finish reason came, EmptyAnswer where nothing was said."""
        ...

    @property
    def partial(self) -> Message | None:
        """What has arrived so far, marked incomplete; None where nothing has."""
        ...

    @property
    def usage(self) -> Usage | None:
        """What the endpoint has reported so far."""
        ...

    @property
    def generation_id(self) -> str | None:
        """The provider's id of this call, once known."""
        ...


class Dialect(Protocol):
    """One wire format."""

    path: str

    def headers(self, endpoint: Endpoint) -> dict[str, str]:
        """Authentication and the endpoint's own headers."""
        ...

    def encode(self, request: Request, endpoint: Endpoint, quirks: frozenset[str]) -> dict[str, Any]:
        """The JSON body. Pure. `quirks` are the endpoint's known and learned peculiarities."""
        ...

    def classify(
        self, status: int, headers: Mapping[str, str], body: bytes, endpoint: Endpoint | None = None
    ) -> ModelError:
        """A refused request as a named error. With `endpoint`, its remedy names the environment variable or command to use."""
        ...

    def decoder(self, request: Request, endpoint: Endpoint) -> Decoder:
        """A fresh decoder for one answer."""
        ...
