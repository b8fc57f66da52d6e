"""OpenAI's Responses API (`/v1/responses`), stateless: nothing is stored there, and everything goes back with each request.

What differs from Chat Completions: a conversation is a list of items (messages, thoughts, calls, results), not of messages; the model's
reasoning comes sealed and must come back unmodified, or it is lost between two tool calls; the system text is the first item, because the
`instructions` of newer models stand behind the conversation (developers.openai.com, guides/preserved-reasoning).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from agent.llm.answers.calls import OPENAI, fit_ids
from agent.llm.binding import sealed_left
from agent.llm.body import Piece
from agent.llm.dialects import structure
from agent.llm.dialects.breakpoints import BREAKPOINT, MOST_OF_OPENAI, breakpoints, marks_openai
from agent.llm.dialects.controls import as_they_are
from agent.llm.dialects.history import settle, valid_arguments, without_traffic
from agent.llm.dialects.over_http import HttpDialect
from agent.llm.dialects.responses_items import OWN, returns
from agent.llm.errors import BadRequest, ModelError
from agent.llm.identity_cache import Kind
from agent.llm.messages import ImagePart, Message, ReasoningPart, TextPart, ToolCallPart
from agent.llm.models.effort import on_the_wire
from agent.llm.models.endpoint import Endpoint
from agent.llm.models.families import family_of
from agent.llm.request import Controls, ProviderSearch, Request

if TYPE_CHECKING:
    from agent.llm.dialects.responses_decoder import ResponsesDecoder

EMPTY_RESULT = "(no output)"
LEAST_OUTPUT = 16
"""A smaller `max_output_tokens` is refused."""

"""Under this key of `extra` stands what of an answer's messages and calls goes back; other dialects leave it out."""

_TYPE = r'\s*\{\s*"type"\s*:\s*"([\w.]+)"'
ENDS = frozenset({"response.completed", "response.incomplete", "response.failed", "response.done", "error"})


class ResponsesDialect(HttpDialect):
    """Requests are always streamed."""

    name = "responses"
    path = "/responses"
    controls = frozenset(("top_p", "user", "service_tier", "verbosity", "parallel", "tool"))

    def is_last(self, event: str, data: str) -> bool:
        """The event that tells how the response ended; some servers name it in the data alone, some send a `[DONE]` behind it."""
        named = re.match(_TYPE, data) if event == "message" else None
        return (named[1] if named else event) in ENDS or data.strip() == "[DONE]"

    def compose(
        self, request: Request, endpoint: Endpoint, quirks: frozenset[str], left: list[str] | None = None
    ) -> dict[str, Any]:
        """The body. Its input but for the tail is a prefix of what a longer history encodes to. Sealed thoughts go back, but
        to another account."""
        body: dict[str, Any] = {"model": request.wire_model}
        if request.tools:
            body["tools"] = [
                {
                    "type": "function",
                    "name": tool.name,
                    "description": tool.description,
                    "parameters": tool.parameters,
                    # Absent it is true, and the schema would have to be of a kind that ours are not.
                    "strict": bool(tool.strict),
                }
                for tool in request.tools
            ]
        if request.search is not None:
            body["tools"] = [*body.get("tools", []), _search(request.search)]
        body["input"] = _input(request, endpoint, quirks, left)
        forced = request.tool_choice == "required" and "no_forced_tool_choice" not in quirks
        if request.tools and (forced or request.tool_choice == "none"):
            body["tool_choice"] = request.tool_choice
        body["max_output_tokens"] = max(LEAST_OUTPUT, request.max_tokens)
        if request.temperature is not None and "no_temperature" not in quirks:
            body["temperature"] = request.temperature
        body.update(_reasoning(request, quirks))
        if request.search is not None:
            body["include"] = [*body.get("include", []), "web_search_call.action.sources"]
        body.update(_text(request, quirks))
        if request.controls:
            body.update(_controls(request, request.controls, body, quirks))
        body["store"] = False
        if request.cache_key and "no_prompt_cache_key" not in quirks:
            body["prompt_cache_key"] = request.cache_key
        body["stream"] = True
        return body

    def searches(self, endpoint: Endpoint) -> bool:
        """By a server tool."""
        return True

    def items(self, body: dict[str, Any]) -> list[Any]:
        """Tools, then the items of the input, of which the system text is the first."""
        return [body.get("tools", []), *body["input"]]

    def classify(
        self,
        status: int,
        headers: Mapping[str, str],
        body: bytes,
        endpoint: Endpoint | None = None,
        sent: Mapping[str, Any] | None = None,
    ) -> ModelError:
        """A refused request as a named error. Where there is no such address, the server may speak Chat Completions alone."""
        error = super().classify(status, headers, body, endpoint, sent)
        if status in (404, 405) and type(error) is BadRequest and endpoint is not None:
            error.remedy = f'check base_url, or set dialect = "chat" under [endpoints.{endpoint.name}]'
        return error

    def decoder(self, request: Request, endpoint: Endpoint) -> ResponsesDecoder:
        """A fresh decoder for one answer."""
        from agent.llm.dialects.responses_decoder import ResponsesDecoder

        return ResponsesDecoder(request, endpoint)


def _controls(request: Request, said: Controls, so_far: dict[str, Any], quirks: frozenset[str]) -> dict[str, Any]:
    body = as_they_are(said, ("top_p", "user", "service_tier"))
    if said.verbosity:
        body["text"] = {**so_far.get("text", {}), "verbosity": said.verbosity}
    if request.tools and said.parallel is not None:
        body["parallel_tool_calls"] = said.parallel
    if said.tool and request.tool_choice == "required" and "no_forced_tool_choice" not in quirks:
        body["tool_choice"] = {"type": "function", "name": said.tool}
    return body


def _search(wanted: ProviderSearch) -> dict[str, Any]:
    """The server tool (developers.openai.com, "web search"). It has no list of what is excluded: what it brings is checked afterwards."""
    tool: dict[str, Any] = {"type": "web_search"}
    if wanted.allowed:
        tool["filters"] = {"allowed_domains": list(wanted.allowed)}
    return tool


def _input(request: Request, endpoint: Endpoint, quirks: frozenset[str], left: list[str] | None) -> list[Piece]:
    history = fit_ids(settle(request.messages), OPENAI)
    if "history_needs_tools" in quirks and not request.tools:
        history = without_traffic(history)
    origin = str(request.model)
    behind = sealed_left(history, request, endpoint, left)
    # Without its thought a reply goes as anybody's: under its own ids the endpoint would miss the thought.
    own, anybodys = _pieces(origin, quirks), _pieces("", quirks)
    groups = (
        own.each(history)
        if not behind
        else [anybodys.of(message) if at in behind else own.of(message) for at, message in enumerate(history)]
    )
    if marks_openai(quirks):
        _set_breakpoints(history, groups, shared=request.shared)
    items = [item for group in groups for item in group]
    tail = structure.tail(request, quirks)
    if tail:
        items.append(Piece({"role": "user", "content": [{"type": "input_text", "text": tail}]}))
    return items


class _Group(list[Piece]):
    """The items of one message."""

    @property
    def size(self) -> int:
        return sum(piece.size for piece in self)


def _pieces(origin: str, quirks: frozenset[str]) -> Kind[_Group]:
    return Kind(("responses", origin, quirks), lambda message: _Group(map(Piece, _items(message, origin, quirks))))


def _items(message: Message, origin: str, quirks: frozenset[str]) -> list[dict[str, Any]]:
    if message.role == "tool":
        return [
            {
                "type": "function_call_output",
                "call_id": message.tool_call_id or "",
                "output": _output(message, quirks),
            }
        ]
    if message.role != "assistant":
        return [{"role": message.role, "content": _content(message, quirks)}]
    own = message.origin == origin
    notes = iter((message.extra or {}).get(OWN) or ()) if own else iter(())
    items: list[dict[str, Any]] = []
    for part in message.parts:
        if isinstance(part, ReasoningPart):
            if own and returns(part.extra):
                items.append(dict(part.extra or {}))
        elif isinstance(part, ToolCallPart):
            call = {"type": "function_call", "call_id": part.id, "name": part.name}
            kept = (part.extra or {}).get(OWN) if own else None
            items.append({**call, "arguments": valid_arguments(part.arguments), **(kept or {})})
        elif isinstance(part, TextPart):
            note = next(notes, None)
            if part.text.strip():
                items.append(_words(part.text, note))
    return items


def _words(text: str, note: Any) -> dict[str, Any]:
    """What the model said: under the id that its reasoning belongs to where it has one, with its phase (commentary or answer)."""
    if not isinstance(note, dict) or not note.get("id"):
        return {"role": "assistant", "content": text}
    content = [{"type": "output_text", "text": text, "annotations": []}]
    return {"type": "message", "role": "assistant", "status": "completed", "content": content, **note}


def _content(message: Message, quirks: frozenset[str]) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = []
    for part in message.parts:
        if isinstance(part, TextPart) and part.text:
            parts.append({"type": "input_text", "text": part.text})
        elif isinstance(part, ImagePart) and "no_images" in quirks:
            parts.append({"type": "input_text", "text": f"[image: {part.media_type}]"})
        elif isinstance(part, ImagePart):
            parts.append({"type": "input_image", "detail": "auto", "image_url": part.address})
    return parts


def _output(message: Message, quirks: frozenset[str]) -> str | list[dict[str, Any]]:
    """A result: a string, or a list where there are images or where a breakpoint may have to be set on it.

    It must not change its shape when the breakpoint moves on.
    """
    parts = _content(message, quirks) or [{"type": "input_text", "text": EMPTY_RESULT}]
    if marks_openai(quirks) or any(part["type"] == "input_image" for part in parts):
        return parts
    return "".join(part["text"] for part in parts)


def _set_breakpoints(history: Sequence[Message], groups: list[_Group], *, shared: int) -> None:
    """On the content of the prompt; an answer's can't carry one."""

    def field(index: int) -> str:
        return "output" if history[index].role == "tool" else "content"

    def blocks(index: int) -> Any:
        return groups[index][-1].value.get(field(index))

    def markable(index: int) -> bool:
        return history[index].role != "assistant" and isinstance(blocks(index), list) and bool(blocks(index))

    for index in breakpoints(history, markable, shared=shared, most=MOST_OF_OPENAI):
        *before, last = groups[index]
        *content, block = blocks(index)
        marked = last.with_(**{field(index): [*content, {**block, **BREAKPOINT}]})
        groups[index] = _Group([*before, marked])


def _reasoning(request: Request, quirks: frozenset[str]) -> dict[str, Any]:
    if "no_reasoning" in quirks:
        return {}
    effort = on_the_wire(request.reasoning, request.model.model, quirks)
    reasoning: dict[str, Any] = {} if effort is None else {"effort": effort}
    # A model that reasons says nothing of it unless it is asked to, and a chat would be silent meanwhile.
    if family_of(request.model.model) is not None and effort != "none" and "no_reasoning_summary" not in quirks:
        reasoning["summary"] = "auto"
    body: dict[str, Any] = {"reasoning": reasoning} if reasoning else {}
    if "no_encrypted_reasoning" not in quirks:
        body["include"] = ["reasoning.encrypted_content"]
    return body


def _text(request: Request, quirks: frozenset[str]) -> dict[str, Any]:
    form = structure.form(request, quirks)
    if form is None:
        return {}
    if form.schema is None:
        return {"text": {"format": {"type": "json_object"}}}
    held: dict[str, Any] = {"type": "json_schema", "name": form.name}
    if form.strict is not None:
        held["strict"] = form.strict
    held["schema"] = form.schema
    return {"text": {"format": held}}
