"""What is asked of a model: a pure value. A dialect turns it into bytes; nothing else does."""

from __future__ import annotations

from typing import Any, Literal

from agent.llm.messages import Message
from agent.values import dataclass

Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
OutputMode = Literal["json_schema", "json_object", "prompt"]
"""How a model is held to JSON, from the strictest to the loosest: strict schema, any JSON object, or the prompt alone."""


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
    strict: bool | None = None
    """Whether the model is held to the schema; None: as the endpoint has it."""


@dataclass(frozen=True, slots=True)
class Schema:
    """A JSON schema that the answer must hold to, and how strictly it is asked for (`agent.llm.structured` tries one mode after the other).

    `described`: the messages say already what it asks for, so that no words for it are added at the end.
    """

    name: str
    schema: dict[str, Any]
    mode: OutputMode = "json_schema"
    described: bool = False
    strict: bool = True
    """False: a schema that was not made for strict mode, which refuses most."""


@dataclass(frozen=True, slots=True)
class Controls:
    """What else a request may say. The agent says none of it: it is for requests of other programs that come in by the server.

    A dialect writes those that it has words for (`agent.llm.dialects.controls`), and whoever sets one asks there first. None and empty: not
    said. `tool` is the one tool that must be called, where `tool_choice` is required. `parallel` False: one call at a time.
    """

    top_p: float | None = None
    top_k: int | None = None
    seed: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    stop: tuple[str, ...] = ()
    parallel: bool | None = None
    tool: str | None = None
    user: str | None = None
    service_tier: str | None = None
    verbosity: str | None = None


@dataclass(frozen=True, slots=True)
class ProviderSearch:
    """The provider is to search the web for this call. Domains as names; of the two lists some providers know one."""

    allowed: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    most: int = 3
    """Searches."""


@dataclass(frozen=True, slots=True)
class Request:
    """One model call.

    `messages` is the stable history (system first). `tail` is text for this one call (a panel member's brief): the dialect puts it at the end of
    the outgoing copy, where it disturbs no cache; no conversation that goes on has one. `max_tokens` bounds the answer
    (reasoning included) and is always sent, because a large implicit one can be refused for credit (402). `cache_key` is the same for all
    requests that share a beginning: OpenAI brings them to the same cache. `shared`: so many of the
    messages are the same in other conversations, too, so that a cache breakpoint pays behind them. `quirks`: the endpoint's
    peculiarities as this conversation has known them from its first request on (None: as they are known now), so that what was sent
    keeps its shape.
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
    cache_key: str | None = None
    shared: int = 0
    quirks: frozenset[str] | None = None
    served_as: str | None = None
    """What a moving alias in `model` has stood for since the conversation's first call."""
    search: ProviderSearch | None = None
    thoughts: bool = True
    """False: without any signed thought, after the endpoint has refused one."""
    controls: Controls | None = None
    logprobs: int = 0
    """Ask for the log-probabilities of the answer's tokens, each with so many of its likeliest alternatives, where the model is known to give
    them (`ModelFacts.logprobs`, the quirk `logprobs`). Who does not get them has an answer all the same."""

    @property
    def wire_model(self) -> str:
        """The model's name as it is sent."""
        return self.served_as or self.model.model
