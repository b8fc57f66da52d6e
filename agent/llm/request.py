"""What is asked of a model: a pure value. A dialect turns it into bytes; nothing else does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from agent.llm.messages import Message

Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]


@dataclass(frozen=True, slots=True)
class ModelRef:
    """`ENDPOINT:MODEL`, split at the first colon (model ids have colons of their own)."""

    endpoint: str
    model: str

    @classmethod
    def parse(cls, text: str) -> ModelRef:
        """Raises ValueError where an endpoint or a model is missing."""
        endpoint, colon, model = text.partition(":")
        if not (colon and endpoint and model):
            raise ValueError(f"{text!r} is not ENDPOINT:MODEL (for example openrouter:openai/gpt-5.5 or local:smollm2)")
        return cls(endpoint, model)

    def __str__(self) -> str:
        return f"{self.endpoint}:{self.model}"


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool as a model sees it. `parameters` is a JSON schema of type object."""

    name: str
    description: str
    parameters: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Schema:
    """A JSON schema that the answer must hold to. `mode` is the rung of the ladder: strict schema, any JSON object, or prompt only."""

    name: str
    schema: dict[str, Any]
    mode: Literal["json_schema", "json_object", "prompt"] = "json_schema"


@dataclass(frozen=True, slots=True)
class Request:
    """One model call.

    `messages` is the stable history (system first). `tail` is text for this one call (guidance, a panel member's brief): the dialect puts it at the
    end of the outgoing copy, where it disturbs no cache, and it is never part of the history. `max_tokens` bounds the answer
    (reasoning included) and is always sent, because a large implicit one can be refused for credit (402).
    """

    model: ModelRef
    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...] = ()
    tail: str | None = None
    max_tokens: int = 16_000
    temperature: float | None = None
    reasoning: Effort | None = None
    schema: Schema | None = None
    tool_choice: Literal["auto", "required", "none"] = "auto"
