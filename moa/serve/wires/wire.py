"""What a client's wire is: from a body to a request of ours, and from stream events to that wire's own bytes. No network in here.

Which ones there are says registry.py. The frame resolves the model, asks `marks` and looks up what is kept of these replies, reads the body
with both, makes the call, and gives its events to an encoder.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from agent.llm.dialects.base import Dialect
from agent.llm.dialects.registry import dialect_named
from agent.llm.request import ModelRef, Request
from agent.llm.stream import Reply, StreamEvent
from moa.serve.wires.kept import Kept


class Unsayable(Exception):
    """A request says what the other wire, or our own types, have no word for. It is refused, with the parameter's name (HTTP 400).

    `param` is a path in the client's body (`messages.3.content.0.type`).
    """

    status = 400

    def __init__(self, param: str, message: str) -> None:
        super().__init__(message)
        self.param = param
        self.message = message


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request goes. `dialect` is the endpoint's (a key of `agent.llm.dialects.registry.DIALECTS`), `quirks` are what is known of the
    model there.

    `max_tokens` is what a body that names no limit is given, in tokens. `kept` is what is known of earlier replies, by their marks.
    """

    model: ModelRef
    dialect: str
    max_tokens: int = 16_000
    kept: Mapping[str, Kept] = field(default_factory=dict)
    quirks: frozenset[str] = frozenset()

    @property
    def says(self) -> Dialect:
        """What the endpoint's wire has words for."""
        return dialect_named(self.dialect)


@dataclass(frozen=True, slots=True)
class Asked:
    """A body, read. `left_out` names what changes no answer and has no word on the other wire (cache marks, a verbosity): it is told to the
    client in a header, so that nothing is dropped in silence."""

    request: Request
    stream: bool = False
    left_out: tuple[str, ...] = ()


class Encoder(Protocol):
    """One streamed answer. Each method returns the bytes that the client is sent next; empty where there is nothing to say.

    After `end` or `fail` nothing more is said.
    """

    mark: str
    """By which the reply is known again, with `kept.marks_of(reply.message, mark)`, when the client sends it back."""

    def start(self) -> bytes:
        """The head of the answer, ahead of the first event: for a client that must not wait in silence. Nothing where it was sent."""
        ...

    def feed(self, event: StreamEvent) -> bytes:
        """One event of the call. `Finished` is left to `end`."""
        ...

    def alive(self) -> bytes:
        """A sign of life that strict clients take: none of them waits, and none stumbles over a comment."""
        ...

    def end(self, reply: Reply, usage: Mapping[str, Any] | None = None) -> bytes:
        """The end of a whole answer. `usage` joins what the wire says of its own (`cost`, `cost_details`)."""
        ...

    def fail(self, error: BaseException, usage: Mapping[str, Any] | None = None) -> bytes:
        """The end of an answer that broke: this wire's error event. What was begun is not closed as if it were whole.

        A refusal is no failure: every wire has its own end for that.
        """
        ...


class ClientWire(Protocol):
    """One wire, as a client speaks it."""

    name: str
    """`messages`, `responses` or `chat`."""
    dialect: str
    """The upstream dialect that is the same wire (no translation is needed between the two)."""
    sign: bytes
    """A sign of life ahead of the first event of an answer that is passed on: it says nothing, and strict clients take it."""

    def marks(self, body: dict[str, Any]) -> list[str]:
        """What the replies in a body may be kept under, in order. Never raises."""
        ...

    def read(self, body: dict[str, Any], target: Target) -> Asked:
        """The request. Raises Unsayable."""
        ...

    def encoder(self, model: str, body: dict[str, Any]) -> Encoder:
        """For one streamed answer. `model` is the name that the client is told."""
        ...

    def whole(
        self, reply: Reply, model: str, body: dict[str, Any], mark: str = "", usage: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """An answer that is not streamed. `mark` as an encoder's."""
        ...

    def refused(
        self, error: BaseException, model: str, body: dict[str, Any], usage: Mapping[str, Any] | None = None
    ) -> dict[str, Any] | None:
        """An answer that is not streamed and ended with an error for which the wire has an ending of its own (the model declined; the
        limit was used up before a word was said): HTTP 200. None for every other error."""
        ...

    def error(self, error: BaseException) -> tuple[int, dict[str, Any], dict[str, str]]:
        """Status, body and headers for a request that failed before anything was sent. Any exception: one that is none of ours is a 500
        that says nothing of the inside."""
        ...

    def count(self, tokens: int) -> dict[str, Any]:
        """The answer to a question for a number of tokens."""
        ...
