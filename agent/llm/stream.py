"""What one model call yields, in order: Started, any number of deltas, then exactly one Finished. A failure is an exception instead."""

from __future__ import annotations

from dataclasses import field, replace
from typing import Literal

from agent.llm.messages import Message
from agent.values import dataclass

CostSource = Literal["reply", "prices", "local", "generation", "unknown"]
FinishReason = Literal["stop", "tool_calls", "length"]


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one call, by kind. `prompt` includes `cached` and `cache_write`; `completion` includes `reasoning`."""

    prompt: int = 0
    cached: int = 0
    cache_write: int = 0
    completion: int = 0
    reasoning: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.prompt + other.prompt,
            self.cached + other.cached,
            self.cache_write + other.cache_write,
            self.completion + other.completion,
            self.reasoning + other.reasoning,
        )

    @property
    def total(self) -> int:
        """Prompt and completion tokens."""
        return self.prompt + self.completion


@dataclass(frozen=True, slots=True)
class Started:
    """The call has left its endpoint's queue and is being sent. Hard time limits count from here, not from queueing."""


@dataclass(frozen=True, slots=True)
class TextDelta:
    """A piece of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """A piece of the model's reasoning."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """A piece of a tool call. `name` comes with the first piece of each `index`. `id` is the one that the call will have, once it is known."""

    index: int
    name: str | None
    arguments: str
    id: str | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Alive:
    """The model wrote something that is not shown: a signature, an encrypted thought, a field that nobody knows."""


@dataclass(frozen=True, slots=True)
class Retrying:
    """The call failed before its first token, or was refused for a quirk, and goes out again after `delay_s` seconds."""

    reason: str
    delay_s: float
    adapted: bool = False
    quirks: frozenset[str] | None = None
    """What is known of the endpoint from here on, where the refusal has taught something."""


@dataclass(frozen=True, slots=True)
class Citation:
    """A page that the provider names as a source of the answer. `start` and `end` are places in its text, where it says them."""

    url: str
    title: str = ""
    quote: str = ""
    start: int | None = None
    end: int | None = None


@dataclass(frozen=True, slots=True)
class Token:
    """A token of an answer as bytes, its log-probability, and its likeliest alternatives with theirs, itself often among them."""

    text: bytes
    logprob: float
    likeliest: tuple[tuple[bytes, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Reply:
    """A call that came to its end.

    `message.incomplete` is true where the answer was cut at its length limit. `usage` is None where the endpoint reported none.
    `cost_nano` is None where it is unknown. `model_served` is what the endpoint says it ran, which may not be what was asked for.
    """

    message: Message
    finish: FinishReason
    usage: Usage | None = None
    cost_nano: int | None = None
    cost_source: CostSource = "unknown"
    model_served: str | None = None
    provider: str | None = None
    generation_id: str | None = None
    call_id: str = ""
    ttft_s: float | None = None
    duration_s: float = 0.0
    retries: int = 0
    binding: str | None = None
    """What request it answers, where that matters (see `agent.llm.binding`); goes along with `message` when it is kept."""
    quirks: frozenset[str] | None = None
    """The peculiarities that the request was shaped by."""
    left: tuple[str, ...] = ()
    """Why thoughts were left behind in the request, one reason each."""
    found: tuple[Citation, ...] = ()
    """What the provider's own search found, where it was asked to search."""
    note: Message | None = None
    """A message that joined the end of the request on the way; it stays where it was sent."""
    citations: tuple[Citation, ...] = ()
    tokens: tuple[Token, ...] = ()
    """The answer's tokens with their log-probabilities, where they were asked for and given. Some servers leave single ones out."""

    def with_(self, **changes: object) -> Reply:
        """A copy with some fields changed."""
        return replace(self, **changes)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Finished:
    """The last event of a call."""

    reply: Reply


StreamEvent = Started | TextDelta | ReasoningDelta | ToolCallDelta | Alive | Retrying | Finished
