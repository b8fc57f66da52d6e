"""What a dialect is: from a request to a body, and from the bytes that come back to stream events. No network in here.

Which ones there are says registry.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from agent.llm.errors import ModelError
from agent.llm.messages import Message
from agent.llm.models.endpoint import Endpoint
from agent.llm.request import Request
from agent.llm.stream import Reply, StreamEvent, Usage

if TYPE_CHECKING:
    from agent.llm.net.http import Http


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


class Wrapper:
    """A decoder around another, which passes everything on."""

    def __init__(self, inner: Decoder) -> None:
        self._inner = inner

    def headers(self, headers: Mapping[str, str]) -> None:
        """The response's headers."""
        self._inner.headers(headers)

    def feed(self, event: str, data: str) -> list[StreamEvent]:
        """One server-sent event."""
        return self._inner.feed(event, data)

    def feed_body(self, body: bytes) -> list[StreamEvent]:
        """A whole body."""
        return self._inner.feed_body(body)

    def finish(self) -> Reply:
        """The whole answer."""
        return self._inner.finish()

    @property
    def partial(self) -> Message | None:
        """What has arrived so far, marked incomplete."""
        return self._inner.partial

    @property
    def usage(self) -> Usage | None:
        """What the endpoint has reported so far."""
        return self._inner.usage

    @property
    def generation_id(self) -> str | None:
        """The provider's id of this call."""
        return self._inner.generation_id


class Dialect(Protocol):
    """One wire format. `name` is its name in config.toml; `path` and `list_path` follow the base URL for a call and for the list of models.

    What it has words for it says here, and whoever asks compares no names. `controls` are fields of `Controls`; `tiers` are the tiers of
    service in its own words (None: as they are; one without a word can't be said). `words_alone`: a conversation is one text, and
    nothing is said beside it. `tool_images`: a tool's result has a place for images. `result_errors`: a result can be marked as an error.
    """

    name: str
    path: str
    list_path: str
    controls: frozenset[str]
    tiers: Mapping[str, str] | None
    words_alone: bool
    tool_images: bool
    result_errors: bool

    def is_last(self, event: str, data: str) -> bool:
        """True for the server-sent event that ends an answer, whether or not the server closes the stream after it."""
        ...

    def headers(self, endpoint: Endpoint) -> dict[str, str]:
        """Authentication and the endpoint's own headers."""
        ...

    def betas(self, body: Mapping[str, Any], headers: Mapping[str, str]) -> Mapping[str, str]:
        """Headers without which something in this body would be refused, beside `headers`."""
        ...

    def compose(
        self, request: Request, endpoint: Endpoint, quirks: frozenset[str], left: list[str] | None = None
    ) -> dict[str, Any]:
        """The body, for `agent.llm.body.encode_json`: what is made of the conversation are `Piece`s, which other bodies share. `quirks`
        are the endpoint's known and learned peculiarities. `left` is given a reason for each reply whose signed thoughts were left
        behind (`agent.llm.binding`)."""
        ...

    def encode(
        self, request: Request, endpoint: Endpoint, quirks: frozenset[str], left: list[str] | None = None
    ) -> dict[str, Any]:
        """The same body as plain JSON values that nobody else has."""
        ...

    def items(self, body: dict[str, Any]) -> list[Any]:
        """A body as what models sign and caches hold: tools, system text, and each message, in order. A longer conversation's begins so."""
        ...

    def classify(
        self,
        status: int,
        headers: Mapping[str, str],
        body: bytes,
        endpoint: Endpoint | None = None,
        sent: Mapping[str, Any] | None = None,
    ) -> ModelError:
        """A refused request as a named error. With `endpoint`, its remedy names the environment variable or command to use.

        `sent` is the request's body: only a feature that it carried can have been refused.
        """
        ...

    def searches(self, endpoint: Endpoint) -> bool:
        """Whether an endpoint of this dialect searches the web itself when it is asked to (`Request.search`)."""
        ...

    def decoder(self, request: Request, endpoint: Endpoint) -> Decoder:
        """A fresh decoder for one answer."""
        ...

    def exchange(self, decoder: Decoder, endpoint: Endpoint, headers: Mapping[str, str] | None = None) -> Exchange:
        """One attempt of a call over this dialect's wire. `headers` say how deep in panels it is."""
        ...


class Exchange:
    """One attempt of a call: a request and the answer to it. Every method may raise ModelError; none waits with a clock of its own.

    `chargeable` is True from the moment the request may have been taken until it is refused. `items` is the request as what models sign
    (`Dialect.items`), `left` why thoughts were left behind in it. `quiet`: silence says nothing of whether it is alive, and a failed one
    is not begun anew.
    """

    quiet = False

    def __init__(
        self, dialect: Dialect, decoder: Decoder, endpoint: Endpoint, headers: Mapping[str, str] | None = None
    ) -> None:
        self.decoder = decoder
        self.chargeable = False
        self.generation_id: str | None = None
        self.left: list[str] = []
        self.items: list[Any] = []
        self._dialect = dialect
        self._endpoint = endpoint
        self._headers = headers or {}

    async def open(self, http: Http, request: Request, quirks: frozenset[str], connect_s: float) -> None:
        """Send the request and wait for the answer to begin. Raises the refusal, classified, where there is one."""
        raise NotImplementedError

    async def read(self) -> list[StreamEvent] | None:
        """The next events, perhaps none (a keep-alive); None once the answer is over."""
        raise NotImplementedError

    def finish(self) -> Reply:
        """The whole answer, once `read` gave None."""
        return self.decoder.finish()

    async def aclose(self) -> None:
        """Close the answer; before its end that ends it at the other side, too."""
        raise NotImplementedError
