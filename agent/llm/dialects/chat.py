"""Chat Completions: the wire format of OpenAI's `/chat/completions`, as OpenRouter, DeepSeek, llama.cpp and most others speak it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from agent.llm.dialects import structure
from agent.llm.dialects.history import alternate, as_text, last_turn_start, settle, valid_arguments
from agent.llm.endpoint import Endpoint
from agent.llm.errors import ModelError
from agent.llm.messages import ImagePart, Message, TextPart, ToolCallPart, user
from agent.llm.request import Request

if TYPE_CHECKING:
    from agent.llm.dialects.chat_decoder import ChatDecoder

TAIL_MARK = "\n\n[Note for this step; not part of what stands above]\n"
EMPTY_RESULT = "(no output)"

_COARSE = {"minimal": "low", "xhigh": "high", "max": "high"}


class ChatDialect:
    """Requests are always streamed: only then does closing the socket stop the generation, and nothing waits for the last token."""

    path = "/chat/completions"

    def headers(self, endpoint: Endpoint) -> dict[str, str]:
        """A bearer key, where there is one, and the endpoint's own headers."""
        headers = {"Accept": "text/event-stream"}
        if endpoint.api_key:
            headers["Authorization"] = f"Bearer {endpoint.api_key}"
        return {**headers, **endpoint.headers}

    def encode(self, request: Request, endpoint: Endpoint, quirks: frozenset[str]) -> dict[str, Any]:
        """The JSON body. Its messages but for the tail are a prefix of what a longer history encodes to."""
        body: dict[str, Any] = {"model": request.model.model, "messages": _messages(request, quirks)}
        if request.tools:
            body["tools"] = [
                {
                    "type": "function",
                    "function": {"name": tool.name, "description": tool.description, "parameters": tool.parameters},
                }
                for tool in request.tools
            ]
            if request.tool_choice == "none" or (
                request.tool_choice == "required" and "no_forced_tool_choice" not in quirks
            ):
                body["tool_choice"] = request.tool_choice
        body["max_completion_tokens" if "max_completion_tokens" in quirks else "max_tokens"] = request.max_tokens
        if request.temperature is not None and "no_temperature" not in quirks:
            body["temperature"] = request.temperature
        body.update(_reasoning(request, quirks))
        body.update(_response_format(request, quirks))
        body["stream"] = True
        if "no_stream_options" not in quirks:
            body["stream_options"] = {"include_usage": True}
        return body

    def classify(
        self, status: int, headers: Mapping[str, str], body: bytes, endpoint: Endpoint | None = None
    ) -> ModelError:
        """A refused request as a named error."""
        from agent.llm.dialects.reading import classify

        return classify(status, headers, body, endpoint)

    def decoder(self, request: Request, endpoint: Endpoint) -> ChatDecoder:
        """A fresh decoder for one answer."""
        from agent.llm.dialects.chat_decoder import ChatDecoder

        return ChatDecoder(request, endpoint)


def _messages(request: Request, quirks: frozenset[str]) -> list[dict[str, Any]]:
    strict = "strict_alternation" in quirks
    history = settle(_without_misplaced_system(request.messages, quirks))
    if "history_needs_tools" in quirks and not request.tools:
        history = [as_text(message) for message in history]
    if strict:
        history = alternate(history)
    origin = str(request.model)
    wire = [_message(message, origin, quirks) for message in history]
    if "cache_control" in quirks:
        _set_breakpoints(wire, history)
    tail = structure.tail(request, quirks)
    if tail:
        _add_tail(wire, tail, strict=strict)
    return wire


def _without_misplaced_system(messages: Sequence[Message], quirks: frozenset[str]) -> list[Message]:
    """Templates that insist on turns take a system message first or not at all; elsewhere it becomes the user's."""
    if "no_system_role" in quirks:
        keep = 0
    elif "strict_alternation" in quirks:
        keep = 1
    else:
        return list(messages)
    return [
        user(message.text) if message.role == "system" and index >= keep else message
        for index, message in enumerate(messages)
    ]


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
    """A string, or a list of parts where there are images, or where breakpoints may have to be set on one.

    With breakpoints it is always a list: a message must not change its shape when the breakpoint moves on.
    """
    images = "no_images" not in quirks and any(isinstance(part, ImagePart) for part in message.parts)
    parts: list[dict[str, Any]] = []
    for part in message.parts:
        if isinstance(part, TextPart) and part.text:
            parts.append({"type": "text", "text": part.text})
        elif isinstance(part, ImagePart) and images:
            url = f"data:{part.media_type};base64,{part.data}"
            parts.append({"type": "image_url", "image_url": {"url": url}})
        elif isinstance(part, ImagePart):
            parts.append({"type": "text", "text": f"[image: {part.media_type}]"})
    if images or "cache_control" in quirks:
        return parts
    return "".join(part["text"] for part in parts)


def _tool_call(call: ToolCallPart, own: bool) -> dict[str, Any]:
    function = {"name": call.name, "arguments": valid_arguments(call.arguments)}
    wire = {"id": call.id, "type": "function", "function": function}
    return {**wire, **(call.extra or {})} if own else wire


def _reasoning_back(message: Message, own: bool, quirks: frozenset[str]) -> dict[str, Any]:
    """The model's own reasoning, unmodified; another model's never.

    DeepSeek and Moonshot refuse a tool loop whose calls lack `reasoning_content`: where there is none to return, a blank stands.
    """
    wire = dict(message.extra or {}) if own else {}
    reasoning = message.reasoning if own else ""
    if "reasoning_content_back" in quirks:
        if reasoning or message.tool_calls:
            wire["reasoning_content"] = reasoning or " "
    elif reasoning and "reasoning_object" in quirks and "reasoning_details" not in wire:
        wire["reasoning"] = reasoning
    return wire


def _add_tail(wire: list[dict[str, Any]], tail: str, *, strict: bool) -> None:
    """Nothing comes after the tail, and no stable message is changed for it but the copy of the last where turns are strict."""
    if not (strict and wire and wire[-1]["role"] in ("user", "tool")):
        wire.append({"role": "user", "content": tail})
        return
    last = wire[-1]
    content = last["content"]
    if isinstance(content, str):
        wire[-1] = {**last, "content": content + TAIL_MARK + tail}
    else:
        wire[-1] = {**last, "content": [*content, {"type": "text", "text": TAIL_MARK.lstrip() + tail}]}


def _set_breakpoints(wire: list[dict[str, Any]], history: Sequence[Message]) -> None:
    """After the system message, where the previous request ended, and on the last stable block: three of the four allowed."""
    before_last_turn = last_turn_start(history) - 1
    marked: set[int] = set()
    leading = 0
    while leading < len(history) and history[leading].role == "system":
        leading += 1
    for index in (leading - 1, before_last_turn, len(wire) - 1):
        while index >= 0 and not isinstance(wire[index]["content"], list):
            index -= 1
        if index >= 0 and index not in marked and wire[index]["content"]:
            marked.add(index)
            content = wire[index]["content"]
            content[-1] = {**content[-1], "cache_control": {"type": "ephemeral"}}


def _reasoning(request: Request, quirks: frozenset[str]) -> dict[str, Any]:
    effort: str | None = request.reasoning
    if "reasoning_off_with_tools" in quirks and request.tools:
        effort = "none"
    if effort is None or "no_reasoning" in quirks:
        return {}
    if "thinking_switch" in quirks:
        return {"thinking": {"type": "disabled" if effort == "none" else "enabled"}}
    if "coarse_effort" in quirks:
        effort = _COARSE.get(effort, effort)
    if "reasoning_object" in quirks:
        return {"reasoning": {"effort": effort}}
    return {"reasoning_effort": "xhigh" if effort == "max" else effort}


def _response_format(request: Request, quirks: frozenset[str]) -> dict[str, Any]:
    if request.schema is None:
        return {}
    mode = structure.rung(request.schema, quirks)
    if mode == "prompt":
        return {}
    if mode == "json_object" and "no_json_object" not in quirks:
        return {"response_format": {"type": "json_object"}}
    held: dict[str, Any] = {"name": request.schema.name, "strict": True, "schema": request.schema.schema}
    if mode == "json_object":
        held = {"name": request.schema.name, "schema": {"type": "object"}}
    elif "no_strict_schema" in quirks:
        del held["strict"]
    body: dict[str, Any] = {"response_format": {"type": "json_schema", "json_schema": held}}
    if "require_parameters" in quirks:
        body["provider"] = {"require_parameters": True}
    return body
