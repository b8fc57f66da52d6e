"""Anthropic's Messages API (`/v1/messages`, version 2023-06-01).

What differs from Chat Completions: the system text stands apart, tool results are blocks of a user message, thinking blocks carry
signatures and must come back unmodified, and the prompt cache works only where breakpoints say so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from agent.llm.dialects import structure
from agent.llm.dialects.history import GO_ON, arguments_object, as_text, last_turn_start, settle
from agent.llm.endpoint import Endpoint
from agent.llm.errors import ModelError
from agent.llm.messages import ImagePart, Message, ReasoningPart, TextPart, ToolCallPart, user
from agent.llm.request import Request

if TYPE_CHECKING:
    from agent.llm.dialects.anthropic_decoder import AnthropicDecoder

EMPTY_RESULT = "(no output)"

# Share of max_tokens that a fixed thinking budget takes; OpenRouter documents the same shares for its effort levels.
_BUDGET_PERCENT = {"minimal": 10, "low": 20, "medium": 50, "high": 80, "xhigh": 95, "max": 95}
_LEAST_BUDGET = 1024

# What the JSON schemas of structured outputs must not say, by Anthropic's documentation; the model is not held to these.
_UNSUPPORTED_KEYWORDS = frozenset(
    {
        "minLength",
        "maxLength",
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "multipleOf",
        "maxItems",
        "uniqueItems",
    }
)


class AnthropicDialect:
    """Requests are always streamed."""

    path = "/messages"

    def headers(self, endpoint: Endpoint) -> dict[str, str]:
        """The key in `x-api-key`, the API's version, and the endpoint's own headers."""
        headers = {"Accept": "text/event-stream", "anthropic-version": "2023-06-01"}
        if endpoint.api_key:
            headers["x-api-key"] = endpoint.api_key
        return {**headers, **endpoint.headers}

    def encode(self, request: Request, endpoint: Endpoint, quirks: frozenset[str]) -> dict[str, Any]:
        """The JSON body. Its messages but for the tail are a prefix of what a longer history encodes to."""
        tools = request.tools
        leading = _leading_system(request.messages)
        # A later system message can't move up into the system text, which is the cache's very beginning.
        rest = [user(message.text) if message.role == "system" else message for message in request.messages[leading:]]
        history = settle(rest)
        if not tools and "history_needs_tools" in quirks:
            history = [as_text(message) for message in history]
        origin = str(request.model)
        blocks = [(_role(message), _blocks(message, origin, quirks)) for message in history]
        _set_breakpoints([content for _role, content in blocks], last_turn_start(history))
        messages = _merge_tool_results(history, blocks)
        _add_tail(messages, structure.tail(request, quirks))

        body: dict[str, Any] = {"model": request.model.model, "max_tokens": request.max_tokens}
        system = [
            part.text for message in request.messages[:leading] for part in message.parts if isinstance(part, TextPart)
        ]
        texts: list[dict[str, Any]] = [{"type": "text", "text": text} for text in system if text.strip()]
        if texts:
            texts[-1]["cache_control"] = {"type": "ephemeral"}
            body["system"] = texts
        body["messages"] = messages
        if tools:
            body["tools"] = [
                {"name": tool.name, "description": tool.description, "input_schema": tool.parameters} for tool in tools
            ]
        body.update(_thinking_and_choice(request, history, quirks))
        if request.temperature is not None and "no_temperature" not in quirks and "thinking" not in body:
            body["temperature"] = min(request.temperature, 1.0)
        if request.schema and structure.rung(request.schema, quirks) == "json_schema":
            # Structured outputs proper. A forced tool would do as well, but is refused while the model thinks.
            body.setdefault("output_config", {})["format"] = {
                "type": "json_schema",
                "schema": supported_schema(request.schema.schema),
            }
        body["stream"] = True
        return body

    def classify(
        self, status: int, headers: Mapping[str, str], body: bytes, endpoint: Endpoint | None = None
    ) -> ModelError:
        """A refused request as a named error."""
        from agent.llm.dialects.reading import classify

        return classify(status, headers, body, endpoint)

    def decoder(self, request: Request, endpoint: Endpoint) -> AnthropicDecoder:
        """A fresh decoder for one answer."""
        from agent.llm.dialects.anthropic_decoder import AnthropicDecoder

        return AnthropicDecoder(request, endpoint)


def supported_schema(schema: Any) -> Any:
    """A JSON schema without the keywords that structured outputs refuse, and with every object closed, which they demand."""
    if isinstance(schema, list):
        return [supported_schema(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    kept: dict[str, Any] = {}
    for key, value in schema.items():
        if key in _UNSUPPORTED_KEYWORDS or (key == "minItems" and value not in (0, 1)):
            continue
        if key in ("properties", "$defs", "definitions") and isinstance(value, dict):
            kept[key] = {name: supported_schema(inner) for name, inner in value.items()}
        elif key in ("enum", "const", "default", "examples", "required"):
            kept[key] = value
        else:
            kept[key] = supported_schema(value)
    if kept.get("type") == "object":
        kept["additionalProperties"] = False
    return kept


def _leading_system(messages: Sequence[Message]) -> int:
    count = 0
    while count < len(messages) and messages[count].role == "system":
        count += 1
    return count


def _role(message: Message) -> str:
    return "assistant" if message.role == "assistant" else "user"


def _blocks(message: Message, origin: str, quirks: frozenset[str]) -> list[dict[str, Any]]:
    if message.role == "tool":
        content = _plain_blocks(message, quirks)
        result: dict[str, Any] = {
            "type": "tool_result",
            "tool_use_id": message.tool_call_id or "",
            "content": content or [{"type": "text", "text": EMPTY_RESULT}],
        }
        return [{**result, "is_error": True} if message.is_error else result]
    if message.role != "assistant":
        return _plain_blocks(message, quirks)
    own = message.origin == origin
    blocks: list[dict[str, Any]] = []
    for part in message.parts:
        if isinstance(part, ReasoningPart):
            # Unsigned thinking (cut off, or another model's) would be refused.
            if own and part.extra and ("signature" in part.extra or "data" in part.extra):
                thinking = {"thinking": part.text} if "signature" in part.extra else {}
                blocks.append({**part.extra, **thinking})
        elif isinstance(part, ToolCallPart):
            blocks.append(
                {"type": "tool_use", "id": part.id, "name": part.name, "input": arguments_object(part.arguments)}
            )
        elif isinstance(part, TextPart) and part.text.strip():
            blocks.append({"type": "text", "text": part.text})
    return blocks


def _plain_blocks(message: Message, quirks: frozenset[str]) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = []
    for part in message.parts:
        if isinstance(part, TextPart) and part.text.strip():
            blocks.append({"type": "text", "text": part.text})
        elif isinstance(part, ImagePart) and "no_images" in quirks:
            blocks.append({"type": "text", "text": f"[image: {part.media_type}]"})
        elif isinstance(part, ImagePart):
            source = {"type": "base64", "media_type": part.media_type, "data": part.data}
            blocks.append({"type": "image", "source": source})
    return blocks


def _merge_tool_results(
    history: Sequence[Message], blocks: Sequence[tuple[str, list[dict[str, Any]]]]
) -> list[dict[str, Any]]:
    """The results of one round are one user message, as the API demands.

    Nothing else is merged: consecutive user messages are accepted (the API reads them as one turn), and a message that grew after
    it was sent would empty the cache.
    """
    messages: list[dict[str, Any]] = []
    for index, (message, (role, content)) in enumerate(zip(history, blocks, strict=True)):
        if message.role == "tool" and index and history[index - 1].role == "tool":
            messages[-1]["content"] += content
        elif content:
            messages.append({"role": role, "content": list(content)})
    return messages


def _set_breakpoints(contents: Sequence[list[dict[str, Any]]], before: int) -> None:
    """On the last stable block, and where the previous request ended; with the system text's that makes three of the four allowed.

    Thinking blocks can't carry one, and assistant messages need none: what follows an answer is a user message.
    """
    for end in {len(contents), before}:
        for content in reversed(contents[:end]):
            if content and content[-1]["type"] in ("text", "tool_result", "image"):
                content[-1]["cache_control"] = {"type": "ephemeral"}
                break


def _add_tail(messages: list[dict[str, Any]], tail: str | None) -> None:
    """The tail is the last block of the last user message, after all tool results; nothing comes after it."""
    if messages and messages[-1]["role"] == "user":
        if tail:
            messages[-1]["content"].append({"type": "text", "text": tail})
        return
    # An answer can't be the last message: it would be continued as the model's own words, which newer models refuse.
    messages.append({"role": "user", "content": [{"type": "text", "text": tail or GO_ON}]})


def _thinking_and_choice(request: Request, history: Sequence[Message], quirks: frozenset[str]) -> dict[str, Any]:
    body: dict[str, Any] = {}
    forced = request.tool_choice == "required" and "no_forced_tool_choice" not in quirks
    if request.tools and (forced or request.tool_choice == "none"):
        body["tool_choice"] = {"type": "any" if forced else "none"}
    effort = request.reasoning
    # A forced tool call and thinking exclude each other.
    if effort in (None, "none") or "no_reasoning" in quirks or (request.tools and forced):
        return body
    if "manual_thinking" not in quirks or "adaptive_thinking" in quirks:
        effort = "low" if effort == "minimal" else effort
        if "coarse_effort" in quirks and effort in ("xhigh", "max"):
            effort = "high"
        body["thinking"] = {"type": "adaptive"}
        body["output_config"] = {"effort": effort}
        return body
    budget = max(_LEAST_BUDGET, request.max_tokens * _BUDGET_PERCENT[effort] // 100)
    # The budget must be smaller than max_tokens, and a tool loop that began without thinking can't go on with it.
    if budget < request.max_tokens and _may_think(history, str(request.model)):
        body["thinking"] = {"type": "enabled", "budget_tokens": budget}
    return body


def _may_think(history: Sequence[Message], origin: str) -> bool:
    last = next((message for message in reversed(history) if message.role in ("assistant", "user")), None)
    if last is None or not last.tool_calls:
        return True
    return last.origin == origin and any(isinstance(part, ReasoningPart) and part.extra for part in last.parts)
