"""What one model call yields, in order: Started, any number of deltas, then exactly one Finished. A failure is an exception instead."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from agent.llm.messages import Message

CostSource = Literal["reply", "prices", "local", "generation", "unknown"]
FinishReason = Literal["stop", "tool_calls", "length", "refusal"]


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
    """A piece of a tool call. `name` comes with the first piece of each `index`."""

    index: int
    name: str | None
    arguments: str


@dataclass(frozen=True, slots=True)
class Retrying:
    """The call failed before its first token, or was refused for a quirk, and goes out again after `delay_s` seconds."""

    reason: str
    delay_s: float
    adapted: bool = False


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

    def with_(self, **changes: object) -> Reply:
        """A copy with some fields changed."""
        return replace(self, **changes)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Finished:
    """The last event of a call."""

    reply: Reply


StreamEvent = Started | TextDelta | ReasoningDelta | ToolCallDelta | Retrying | Finished
