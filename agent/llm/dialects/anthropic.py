"""Anthropic's Messages API (`/v1/messages`, version 2023-06-01).

What differs from Chat Completions: the system text stands apart, tool results are blocks of a user message, thinking blocks carry
signatures and must come back unmodified, and the prompt cache works only where breakpoints say so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from agent.llm.answers.calls import ANTHROPIC, fit_ids
from agent.llm.binding import is_bound, keep_bound
from agent.llm.body import Piece
from agent.llm.dialects import structure
from agent.llm.dialects.breakpoints import breakpoints, leading_system
from agent.llm.dialects.controls import as_they_are
from agent.llm.dialects.history import GO_ON, arguments_object, as_user, settle, without_traffic
from agent.llm.dialects.over_http import HttpDialect
from agent.llm.identity_cache import Kind
from agent.llm.messages import ImagePart, Message, ReasoningPart, TextPart, ToolCallPart
from agent.llm.models.effort import on_the_wire
from agent.llm.models.endpoint import Endpoint
from agent.llm.models.families import family_of
from agent.llm.request import Controls, Effort, ProviderSearch, Request

if TYPE_CHECKING:
    from agent.llm.dialects.anthropic_decoder import AnthropicDecoder

EMPTY_RESULT = "(no output)"
INLINE_TOOLS = "inline-tools-2026-09-15"
"""Of `anthropic-beta`: a tool may be defined within the messages."""

# Share of max_tokens that a fixed thinking budget takes; OpenRouter documents the same shares for its effort levels.
_BUDGET_PERCENT = {"minimal": 10, "low": 20, "medium": 50, "high": 80, "xhigh": 95, "max": 95}
_LEAST_BUDGET = 1024
_TIERS = {"auto": "auto", "default": "standard_only"}

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


class AnthropicDialect(HttpDialect):
    """Requests are always streamed."""

    name = "anthropic"
    path = "/messages"
    controls = frozenset(("top_p", "top_k", "stop", "user", "service_tier", "parallel", "tool"))
    tiers = _TIERS
    result_errors = True

    def is_last(self, event: str, data: str) -> bool:
        """`message_stop`; what stands in front of other vendors' servers may put a `[DONE]` behind it, or instead of it."""
        return event == "message_stop" or data.strip() == "[DONE]"

    def headers(self, endpoint: Endpoint) -> dict[str, str]:
        """The key in `x-api-key`, the API's version, and the endpoint's own headers."""
        headers = {"Accept": "text/event-stream", "anthropic-version": "2023-06-01"}
        if endpoint.api_key:
            headers["x-api-key"] = endpoint.api_key
        return {**headers, **endpoint.headers}

    def betas(self, body: Mapping[str, Any], headers: Mapping[str, str]) -> Mapping[str, str]:
        """The one for tools that join in the middle, beside those that the endpoint's own headers name."""
        if not any(message.value["role"] == "system" for message in body["messages"]):
            return {}
        named = next((value for name, value in headers.items() if name.lower() == "anthropic-beta"), "")
        return {"anthropic-beta": f"{named},{INLINE_TOOLS}" if named else INLINE_TOOLS}

    def compose(
        self, request: Request, endpoint: Endpoint, quirks: frozenset[str], left: list[str] | None = None
    ) -> dict[str, Any]:
        """The body. Its messages but for the tail are a prefix of what a longer history encodes to."""
        leading = leading_system(request.messages)
        # A later system message can't move up into the system text, which is the cache's very beginning.
        history = fit_ids(settle(as_user(request.messages[leading:], after=0)), ANTHROPIC)
        if not request.tools and "history_needs_tools" in quirks:
            history = without_traffic(history)
        joins = "tool_addition" in quirks and "no_tool_addition" not in quirks and bool(request.tools)
        messages, sources = _messages(history, str(request.model), quirks, joins=joins)
        body: dict[str, Any] = {"model": request.wire_model, "max_tokens": request.max_tokens}
        if system := _system(request.messages[:leading]):
            body["system"] = system
        body["messages"] = messages
        if request.tools:
            body["tools"] = [
                {
                    "name": tool.name,
                    "description": tool.description,
                    "input_schema": tool.parameters,
                    **({"strict": True} if tool.strict else {}),
                }
                for tool in request.tools
            ]
        if request.search is not None:
            body["tools"] = [*body.get("tools", []), _search(request.search)]
        keep_bound(self.items(body)[:2], messages, sources, request, endpoint, left, _without_thoughts)
        _set_breakpoints(body, sources, shared=max(0, request.shared - leading))
        _add_tail(messages, structure.tail(request, quirks))
        body.update(_thinking_and_choice(request, history, quirks))
        if request.temperature is not None and "no_temperature" not in quirks and "thinking" not in body:
            body["temperature"] = min(request.temperature, 1.0)
        if request.schema and structure.mode_sent(request.schema.mode, quirks) == "json_schema":
            # Structured outputs proper. A forced tool would do as well, but is refused while the model thinks.
            body.setdefault("output_config", {})["format"] = {
                "type": "json_schema",
                "schema": supported_schema(request.schema.schema),
            }
        if request.controls:
            body.update(_controls(request, request.controls, body, quirks))
        body["stream"] = True
        return body

    def searches(self, endpoint: Endpoint) -> bool:
        """By a server tool."""
        return True

    def items(self, body: dict[str, Any]) -> list[Any]:
        """Tools, system text, messages: the order in which the API reads them."""
        return [body.get("tools", []), body.get("system", []), *body["messages"]]

    def decoder(self, request: Request, endpoint: Endpoint) -> AnthropicDecoder:
        """A fresh decoder for one answer."""
        from agent.llm.dialects.anthropic_decoder import AnthropicDecoder

        return AnthropicDecoder(request, endpoint)


def _controls(request: Request, said: Controls, so_far: dict[str, Any], quirks: frozenset[str]) -> dict[str, Any]:
    """A model that thinks takes no sampling of its own."""
    body = as_they_are(said, () if "thinking" in so_far or "no_temperature" in quirks else ("top_p", "top_k"))
    if said.stop:
        body["stop_sequences"] = list(said.stop)
    if said.user:
        body["metadata"] = {"user_id": said.user}
    if said.service_tier:
        body["service_tier"] = _TIERS.get(said.service_tier, said.service_tier)
    choice = dict(so_far.get("tool_choice") or {})
    if said.tool and choice.get("type") == "any":
        choice = {"type": "tool", "name": said.tool}
    if request.tools and said.parallel is False and choice.get("type") != "none":
        choice = {"type": "auto", **choice, "disable_parallel_tool_use": True}
    if choice:
        body["tool_choice"] = choice
    return body


def _search(wanted: ProviderSearch) -> dict[str, Any]:
    """The server tool (docs.claude.com, "web search tool"); it takes one of the two lists."""
    tool: dict[str, Any] = {"type": "web_search_20250305", "name": "web_search", "max_uses": wanted.most}
    if wanted.allowed:
        tool["allowed_domains"] = list(wanted.allowed)
    elif wanted.excluded:
        tool["blocked_domains"] = list(wanted.excluded)
    return tool


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
                # In the order in which it came: a later thought of the same reply is signed over this one.
                thinking = {"type": "thinking", "thinking": part.text} if "signature" in part.extra else {}
                blocks.append({**thinking, **part.extra})
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
            if part.url:
                source = {"type": "url", "url": part.url}
            blocks.append({"type": "image", "source": source})
    return blocks


def _system(messages: Sequence[Message]) -> list[dict[str, Any]]:
    texts = [part.text for message in messages for part in message.parts if isinstance(part, TextPart)]
    return [{"type": "text", "text": text} for text in texts if text.strip()]


def _messages(
    history: Sequence[Message], origin: str, quirks: frozenset[str], *, joins: bool
) -> tuple[list[Piece], list[Message]]:
    """The messages, and which of ours each was made from. The results of one round are one user message, as the API demands.

    Nothing else is merged: consecutive user messages are accepted (the API reads them as one turn), and a message that grew after
    it was sent would empty the cache. Tools that join (`joins`: where they may) stand in a message of their own behind the user's last
    words before a reply, the only place that it may have.
    """

    def made(*round: Message) -> Piece:
        content = [block for message in round for block in _blocks(message, origin, quirks)]
        return Piece({"role": _role(round[0]), "content": content})

    kind, joined = Kind(("anthropic", origin, quirks), made), Kind("tools that join", _joined)
    messages: list[Piece] = []
    sources: list[Message] = []
    waiting: list[Message] = []

    def join() -> None:
        if waiting:
            messages.append(joined.of(*waiting))
            sources.append(waiting[0])
            waiting.clear()

    for first, piece in _rounds(history, kind):
        if first.role == "assistant":
            join()
        if piece.value["content"]:
            messages.append(piece)
            sources.append(first)
        if joins and first.extra and first.role == "user" and _late_tools(first):
            waiting.append(first)
    join()
    return messages, sources


def _joined(*notices: Message) -> Piece:
    """Tools that come late (platform.claude.com, "Mid-conversation system messages and tool changes", definitions by value)."""
    blocks = [
        {
            "type": "tool_addition",
            "tool": {
                "type": "tool_definition",
                "definition": {
                    "name": tool["name"],
                    "description": tool["description"],
                    "input_schema": tool["parameters"],
                },
            },
        }
        for notice in notices
        for tool in _late_tools(notice)
    ]
    return Piece({"role": "system", "content": blocks})


def _late_tools(notice: Message) -> list[dict[str, Any]]:
    """Those with all that a definition needs: somebody may have had an editor on the session."""
    found = (notice.extra or {}).get("tools")
    needed = {"name": str, "description": str, "parameters": dict}
    return [
        tool
        for tool in (found if isinstance(found, list) else ())
        if isinstance(tool, dict) and all(isinstance(tool.get(key), kind) for key, kind in needed.items())
    ]


def _rounds(history: Sequence[Message], kind: Kind[Piece]) -> Iterator[tuple[Message, Piece]]:
    """Each message with its piece; the results of one round are one."""
    round: list[Message] = []
    for message in history:
        if message.role == "tool":
            round.append(message)
            continue
        if round:
            yield round[0], kind.of(*round)
            round = []
        yield message, kind.of(message)
    if round:
        yield round[0], kind.of(*round)


def _without_thoughts(item: dict[str, Any]) -> dict[str, Any]:
    return {**item, "content": [block for block in item["content"] if not is_bound(block)]}


def _set_breakpoints(body: dict[str, Any], sources: Sequence[Message], *, shared: int) -> None:
    """With the system text's that makes four at most. Thinking blocks can't carry one."""
    messages: list[Piece] = body["messages"]

    def markable(index: int) -> bool:
        content = messages[index].value["content"]
        return bool(content) and content[-1]["type"] in ("text", "tool_result", "image", "tool_addition")

    if body.get("system"):
        body["system"][-1]["cache_control"] = {"type": "ephemeral"}
    for index in breakpoints(sources, markable, shared=shared):
        *content, last = messages[index].value["content"]
        messages[index] = messages[index].with_(content=[*content, {**last, "cache_control": {"type": "ephemeral"}}])


def _add_tail(messages: list[Piece], tail: str | None) -> None:
    """The tail is the last block of the last user message, after all tool results; nothing comes after it."""
    last = len(messages) - 1
    while last >= 0 and messages[last].value["role"] == "system":
        last -= 1
    if last >= 0 and messages[last].value["role"] == "user":
        if tail:
            content = [*messages[last].value["content"], {"type": "text", "text": tail}]
            messages[last] = messages[last].with_(content=content)
        return
    # An answer can't be the last message: it would be continued as the model's own words, which newer models refuse.
    messages.append(Piece({"role": "user", "content": [{"type": "text", "text": tail or GO_ON}]}))


def _thinking_and_choice(request: Request, history: Sequence[Message], quirks: frozenset[str]) -> dict[str, Any]:
    body: dict[str, Any] = {}
    forced = bool(request.tools) and request.tool_choice == "required" and "no_forced_tool_choice" not in quirks
    if forced or (request.tools and request.tool_choice == "none"):
        body["tool_choice"] = {"type": "any" if forced else "none"}
    if "no_reasoning" in quirks:
        return body
    # A forced tool call and thinking exclude each other.
    effort = "none" if forced else on_the_wire(request.reasoning, request.model.model, quirks)
    if "manual_thinking" not in quirks or "adaptive_thinking" in quirks:
        body.update(_adaptive(effort, request.model.model, quirks))
    elif effort not in (None, "none"):
        budget = max(_LEAST_BUDGET, request.max_tokens * _BUDGET_PERCENT[effort] // 100)
        # The budget must be smaller than max_tokens, and a tool loop that began without thinking can't go on with it.
        if budget < request.max_tokens and _may_think(history, str(request.model)):
            body["thinking"] = {"type": "enabled", "budget_tokens": budget}
    return body


def _adaptive(effort: Effort | None, model: str, quirks: frozenset[str]) -> dict[str, Any]:
    """The model decides how much it thinks, guided by an effort. Its thoughts are asked for as summaries: else they come back empty, and
    nothing is heard of a model that writes between its tool calls as thoughts."""
    family = family_of(model)
    unasked = family is not None and family.thinks_unasked
    if effort == "none" and family is not None and family.off in ("disabled", "between_tools"):
        return {"thinking": {"type": family.off}}
    if effort in (None, "none") and not unasked:
        return {}
    thinking = {"type": "adaptive"}
    if "no_thinking_display" not in quirks:
        thinking["display"] = "summarized"
    body: dict[str, Any] = {"thinking": thinking}
    # `minimal` is no level of this API.
    if effort not in (None, "none", "minimal"):
        body["output_config"] = {"effort": effort}
    return body


def _may_think(history: Sequence[Message], origin: str) -> bool:
    # Guidance is no new turn: a tool loop goes on behind it.
    spoken = (message for message in reversed(history) if message.synthetic != "guidance")
    last = next((message for message in spoken if message.role in ("assistant", "user")), None)
    if last is None or not last.tool_calls:
        return True
    return last.origin == origin and any(isinstance(part, ReasoningPart) and part.extra for part in last.parts)
