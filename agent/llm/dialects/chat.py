"""Chat Completions: the wire format of OpenAI's `/chat/completions`, as OpenRouter, DeepSeek, llama.cpp and most others speak it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from agent.llm.answers.calls import NINE, fit_ids
from agent.llm.binding import is_bound, keep_bound
from agent.llm.body import Piece
from agent.llm.dialects import structure
from agent.llm.dialects.breakpoints import BREAKPOINT, MOST_OF_OPENAI, breakpoints, marks_openai
from agent.llm.dialects.controls import as_they_are
from agent.llm.dialects.history import GO_ON, alternate, as_user, settle, valid_arguments, without_traffic
from agent.llm.dialects.over_http import HttpDialect
from agent.llm.dialects.registry import DIALECTS
from agent.llm.identity_cache import Kind
from agent.llm.messages import ImagePart, Message, TextPart, ToolCallPart
from agent.llm.models.effort import levels, on_the_wire
from agent.llm.models.endpoint import Endpoint
from agent.llm.request import Controls, ProviderSearch, Request

if TYPE_CHECKING:
    from agent.llm.dialects.chat_decoder import ChatDecoder

TAIL_MARK = "\n\n[Note for this step; not part of what stands above]\n"
EMPTY_RESULT = "(no output)"
# `top_k` is no word of OpenAI's, but of nearly everybody else's.
_PLAIN = (
    "top_p",
    "top_k",
    "seed",
    "frequency_penalty",
    "presence_penalty",
    "stop",
    "user",
    "service_tier",
    "verbosity",
)


class ChatDialect(HttpDialect):
    """Requests are always streamed: only then does closing the socket stop the generation, and nothing waits for the last token."""

    name = "chat"
    path = "/chat/completions"
    controls = frozenset((*_PLAIN, "parallel", "tool"))
    tool_images = False

    def is_last(self, event: str, data: str) -> bool:
        """`[DONE]`."""
        return data.strip() == "[DONE]"

    def compose(
        self, request: Request, endpoint: Endpoint, quirks: frozenset[str], left: list[str] | None = None
    ) -> dict[str, Any]:
        """The body. Its messages but for the tail are a prefix of what a longer history encodes to."""
        body: dict[str, Any] = {"model": request.wire_model, "messages": []}
        if request.tools:
            body["tools"] = [
                {
                    "type": "function",
                    "function": {
                        "name": tool.name,
                        "description": tool.description,
                        "parameters": tool.parameters,
                        **({} if tool.strict is None else {"strict": tool.strict}),
                    },
                }
                for tool in request.tools
            ]
            if request.tool_choice == "none" or (
                request.tool_choice == "required" and "no_forced_tool_choice" not in quirks
            ):
                body["tool_choice"] = request.tool_choice
        if request.search is not None:
            body["tools"] = [*body.get("tools", []), _search(request.search)]
        body["messages"] = _messages(request, endpoint, quirks, body.get("tools", []), left)
        body["max_completion_tokens" if "max_completion_tokens" in quirks else "max_tokens"] = request.max_tokens
        if request.temperature is not None and "no_temperature" not in quirks:
            body["temperature"] = request.temperature
        body.update(_reasoning(request, quirks))
        body.update(_response_format(request, quirks))
        if request.logprobs and "no_logprobs" not in quirks:
            body |= {"logprobs": True, "top_logprobs": request.logprobs}
        if request.cache_key and {"prompt_cache_key", "no_prompt_cache_key"} & quirks == {"prompt_cache_key"}:
            body["prompt_cache_key"] = request.cache_key
        if request.controls:
            body.update(_controls(request, request.controls, quirks))
        body["stream"] = True
        if "no_stream_options" not in quirks:
            body["stream_options"] = {"include_usage": True}
        return body

    def searches(self, endpoint: Endpoint) -> bool:
        """OpenRouter does, by its server tool."""
        return "openrouter.ai" in endpoint.base_url

    def items(self, body: dict[str, Any]) -> list[Any]:
        """Tools, then the messages, of which the system text is the first."""
        return [body.get("tools", []), *body["messages"]]

    def decoder(self, request: Request, endpoint: Endpoint) -> ChatDecoder:
        """A fresh decoder for one answer."""
        from agent.llm.dialects.chat_decoder import ChatDecoder

        return ChatDecoder(request, endpoint)


def _controls(request: Request, said: Controls, quirks: frozenset[str]) -> dict[str, Any]:
    body = as_they_are(said, _PLAIN)
    if request.tools and said.parallel is not None:
        body["parallel_tool_calls"] = said.parallel
    if said.tool and request.tool_choice == "required" and "no_forced_tool_choice" not in quirks:
        body["tool_choice"] = {"type": "function", "function": {"name": said.tool}}
    return body


def _search(wanted: ProviderSearch) -> dict[str, Any]:
    """OpenRouter's server tool (openrouter.ai/docs, "web search")."""
    parameters: dict[str, Any] = {"max_uses": wanted.most}
    if wanted.allowed:
        parameters["allowed_domains"] = list(wanted.allowed)
    elif wanted.excluded:
        parameters["excluded_domains"] = list(wanted.excluded)
    return {"type": "openrouter:web_search", "parameters": parameters}


def _messages(
    request: Request, endpoint: Endpoint, quirks: frozenset[str], tools: list[Any], left: list[str] | None
) -> list[Piece]:
    strict = "strict_alternation" in quirks
    history = settle(_without_misplaced_system(request.messages, quirks))
    if "short_call_ids" in quirks:
        history = fit_ids(history, NINE)
    if "history_needs_tools" in quirks and not request.tools:
        history = without_traffic(history)
    if strict:
        history = alternate(history)
    origin = str(request.model)
    wire = Kind(("chat", origin, quirks), lambda message: Piece(_message(message, origin, quirks))).each(history)
    keep_bound([tools], wire, history, request, endpoint, left, _without_thoughts)
    _set_breakpoints(wire, history, quirks, shared=request.shared)
    tail = structure.tail(request, quirks)
    if tail:
        _add_tail(wire, tail, strict=strict)
    elif "no_prefill" in quirks and wire and wire[-1].value["role"] == "assistant":
        _add_tail(wire, GO_ON, strict=strict)
    return wire


def _without_misplaced_system(messages: Sequence[Message], quirks: frozenset[str]) -> list[Message]:
    """Templates that insist on turns take a system message first or not at all; elsewhere it becomes the user's."""
    if "no_system_role" in quirks:
        keep = 0
    elif "strict_alternation" in quirks:
        keep = 1
    else:
        return list(messages)
    return as_user(messages, after=keep)


def _message(message: Message, origin: str, quirks: frozenset[str]) -> dict[str, Any]:
    if message.role == "tool":
        return {
            "role": "tool",
            "tool_call_id": message.tool_call_id or "",
            # Images of a tool go as placeholders: the format has no place for them here.
            "content": _content(message, quirks | {"no_images"}) or EMPTY_RESULT,
        }
    if message.role != "assistant":
        return {"role": message.role, "content": _content(message, quirks)}
    own = message.origin == origin
    wire: dict[str, Any] = {"role": "assistant", "content": _content(message, quirks) or None}
    wire.update(_reasoning_back(message, own, quirks))
    if message.tool_calls:
        wire["tool_calls"] = [_tool_call(call, own) for call in message.tool_calls]
    return wire


def _content(message: Message, quirks: frozenset[str]) -> str | list[dict[str, Any]]:
    """A string, or a list of parts where there are images, or where a breakpoint may have to be set on one.

    With breakpoints it is always a list: a message must not change its shape when the breakpoint moves on. (OpenAI's stand on no answer.)
    """
    images = "no_images" not in quirks and any(isinstance(part, ImagePart) for part in message.parts)
    parts: list[dict[str, Any]] = []
    for part in message.parts:
        if isinstance(part, TextPart) and part.text:
            parts.append({"type": "text", "text": part.text})
        elif isinstance(part, ImagePart) and images:
            parts.append({"type": "image_url", "image_url": {"url": part.address}})
        elif isinstance(part, ImagePart):
            parts.append({"type": "text", "text": f"[image: {part.media_type}]"})
    if images or "cache_control" in quirks or (marks_openai(quirks) and message.role != "assistant"):
        return parts
    return "".join(part["text"] for part in parts)


def _tool_call(call: ToolCallPart, own: bool) -> dict[str, Any]:
    function = {"name": call.name, "arguments": valid_arguments(call.arguments)}
    wire = {"id": call.id, "type": "function", "function": function}
    return {**wire, **_provider_fields(call.extra)} if own else wire


def _provider_fields(extra: dict[str, Any] | None) -> dict[str, Any]:
    """What the provider gave to be sent back, without what it gave when it was spoken to in another dialect."""
    return {name: value for name, value in (extra or {}).items() if name not in DIALECTS}


def _reasoning_back(message: Message, own: bool, quirks: frozenset[str]) -> dict[str, Any]:
    """The model's own reasoning, unmodified; another model's never.

    DeepSeek and Moonshot refuse a tool loop whose calls lack `reasoning_content`: where there is none to return, a blank stands.
    """
    wire = _provider_fields(message.extra) if own else {}
    reasoning = message.reasoning if own else ""
    if "reasoning_content_back" in quirks:
        if reasoning or message.tool_calls:
            wire["reasoning_content"] = reasoning or " "
    elif reasoning and "reasoning_object" in quirks and "reasoning_details" not in wire:
        wire["reasoning"] = reasoning
    return wire


def _add_tail(wire: list[Piece], tail: str, *, strict: bool) -> None:
    """Nothing comes after the tail, and no stable message is changed for it but the copy of the last where turns are strict."""
    if not (strict and wire and wire[-1].value["role"] in ("user", "tool")):
        wire.append(Piece({"role": "user", "content": tail}))
        return
    content = wire[-1].value["content"]
    if isinstance(content, str):
        wire[-1] = wire[-1].with_(content=content + TAIL_MARK + tail)
    else:
        wire[-1] = wire[-1].with_(content=[*content, {"type": "text", "text": TAIL_MARK.lstrip() + tail}])


def _without_thoughts(item: dict[str, Any]) -> dict[str, Any]:
    kept = [detail for detail in item.get("reasoning_details", ()) if not is_bound(detail)]
    rest = {key: value for key, value in item.items() if key not in ("reasoning_details", "reasoning")}
    return {**rest, "reasoning_details": kept} if kept else rest


def _set_breakpoints(wire: list[Piece], history: Sequence[Message], quirks: frozenset[str], *, shared: int) -> None:
    if "cache_control" in quirks:
        mark, most = {"cache_control": {"type": "ephemeral"}}, 4
    elif marks_openai(quirks):
        mark, most = BREAKPOINT, MOST_OF_OPENAI
    else:
        return

    def markable(index: int) -> bool:
        content = wire[index].value["content"]
        return isinstance(content, list) and bool(content)

    for index in breakpoints(history, markable, shared=shared, most=most):
        *content, last = wire[index].value["content"]
        wire[index] = wire[index].with_(content=[*content, {**last, **mark}])


def _reasoning(request: Request, quirks: frozenset[str]) -> dict[str, Any]:
    model = request.model.model
    effort = on_the_wire(request.reasoning, model, quirks)
    if "reasoning_off_with_tools" in quirks and request.tools and "no_reasoning" not in quirks:
        effort = "none"
    if effort is None:
        return {}
    if "thinking_switch" in quirks:
        return {"thinking": {"type": "disabled" if effort == "none" else "enabled"}}
    if "reasoning_object" in quirks:
        return {"reasoning": {"effort": effort}}
    # `max` is a level of the newest models alone; on a model that nobody knows it is taken for the highest of the others.
    return {"reasoning_effort": "xhigh" if effort == "max" and levels(model) is None else effort}


def _response_format(request: Request, quirks: frozenset[str]) -> dict[str, Any]:
    form = structure.form(request, quirks)
    if form is None:
        return {}
    if form.schema is None:
        return {"response_format": {"type": "json_object"}}
    held: dict[str, Any] = {"name": form.name}
    if form.strict is not None and "no_strict_schema" not in quirks:
        held["strict"] = form.strict
    held["schema"] = form.schema
    body: dict[str, Any] = {"response_format": {"type": "json_schema", "json_schema": held}}
    if "require_parameters" in quirks:
        body["provider"] = {"require_parameters": True}
    return body
