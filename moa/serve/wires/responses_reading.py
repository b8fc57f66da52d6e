"""A Responses body as a request of ours."""

from __future__ import annotations

from functools import partial
from typing import Any

from agent.llm.messages import Message, Part, ReasoningPart, TextPart, ToolCallPart
from agent.llm.request import Effort, Schema
from moa.serve.wires import reading, responses_tools
from moa.serve.wires.reading import Body
from moa.serve.wires.wire import Asked, Target, Unsayable

_READ = (
    *("model", "input", "instructions", "stream", "max_output_tokens", "temperature", "top_p", "tools", "tool_choice"),
    *("parallel_tool_calls", "reasoning", "text", "include", "user", "service_tier", "prompt_cache_key"),
)
_HINTS = (
    *("store", "metadata", "safety_identifier", "prompt_cache_retention", "prompt_cache_options", "client_metadata"),
    *("stream_options", "max_tool_calls", "truncation"),
)
_HARMLESS: dict[str, tuple[object, ...]] = {"top_logprobs": (0,)}
_INCLUDED = frozenset({"reasoning.encrypted_content", "web_search_call.action.sources"})
_REPLIES = frozenset({"reasoning", "function_call", "custom_tool_call"})


def read(body: dict[str, Any], target: Target) -> Asked:
    """The request. Raises Unsayable."""
    reader = Body(body, target)
    reader.fields(_READ, _HINTS, _HARMLESS)
    for what in reading.strings("include", body.get("include")):
        if what not in _INCLUDED:
            raise Unsayable("include", f"{what} can't be had from {target.model}")
    messages = [*_instructions(body), *_conversation(reader)]
    tools = responses_tools.read(body.get("tools"), target)
    choice = _choice(reader)
    reader.numbers("top_p")
    reader.tier("service_tier", {})
    reader.control("user", "user", body.get("user") or None)
    text = reader.inside("text", "format", "verbosity")
    reader.verbosity("text.verbosity", text.get("verbosity"))
    key = body.get("prompt_cache_key")
    return reader.request(
        messages,
        tools=tuple(tools.specs),
        tool_choice=choice,
        max_tokens=reader.limit("max_output_tokens"),
        temperature=reader.number("temperature"),
        reasoning=_effort(reader),
        schema=_schema(text.get("format")),
        cache_key=key if isinstance(key, str) and key else None,
    )


def _instructions(body: dict[str, Any]) -> list[Message]:
    words = body.get("instructions")
    if not words:
        return []
    if not isinstance(words, str):
        raise Unsayable("instructions", "only text can stand here")
    return [Message(role="system", parts=(TextPart(text=words),))]


def items_of(given: Any) -> list[tuple[str, dict[str, Any]]]:
    """The items of an input, each with its path; text alone is the user's."""
    if isinstance(given, str):
        return [("input", {"type": "message", "role": "user", "content": given})]
    return reading.dicts("input", given)


def replies(items: list[tuple[str, dict[str, Any]]]) -> list[list[tuple[str, dict[str, Any]]]]:
    """Items in groups: those of one reply together, each other by itself. A reply ends with a result or somebody else's words."""
    groups: list[list[tuple[str, dict[str, Any]]]] = []
    open = False
    for param, item in items:
        own = is_reply(item)
        if own and open:
            groups[-1].append((param, item))
        else:
            groups.append([(param, item)])
        open = own
    return groups


def is_reply(item: dict[str, Any]) -> bool:
    """Whether a model wrote an item."""
    return kind_of(item) in _REPLIES or (kind_of(item) == "message" and item.get("role") == "assistant")


def kind_of(item: dict[str, Any]) -> str:
    """An item's type, which messages need not give."""
    return str(item.get("type") or ("message" if "role" in item else ""))


def tokens_of(items: list[dict[str, Any]]) -> list[Any]:
    """What stands in a reply's thoughts where they are sealed."""
    return [item.get("encrypted_content") for item in items if item.get("type") == "reasoning"]


def _conversation(reader: Body) -> list[Message]:
    messages: list[Message] = []
    names: dict[str, str] = {}
    for group in replies(items_of(reader.body.get("input"))):
        param, item = group[0]
        kind, role = kind_of(item), item.get("role")
        if is_reply(item):
            message = _reply(reader, group)
            names.update(reading.tool_names([message]))
            messages += [message] if message.parts else []
        elif kind == "message" and role in ("user", "system", "developer"):
            parts = _content(reader, f"{param}.content", item.get("content"))
            messages.append(Message(role="user" if role == "user" else "system", parts=parts))
        elif kind in ("function_call_output", "custom_tool_call_output") and isinstance(item.get("call_id"), str):
            id = item["call_id"]
            parts = _content(reader, f"{param}.output", item.get("output"))
            messages.append(Message(role="tool", parts=parts, tool_call_id=id, tool_name=names.get(id)))
        else:
            raise Unsayable(f"{param}.type", f"an item of type {kind!r} can't be said to {reader.target.model}")
    return messages


def _reply(reader: Body, group: list[tuple[str, dict[str, Any]]]) -> Message:
    parts: list[Part] = []
    for param, item in group:
        kind = item.get("type")
        if kind == "reasoning":
            held = item.get("summary") or item.get("content") or []
            texts = [str(part.get("text") or "") for part in held if isinstance(part, dict)]
            seal = item.get("encrypted_content")  # which clients have only where they asked for it
            extra = {"type": "reasoning", "encrypted_content": seal} if seal else None
            parts.append(ReasoningPart(text="\n\n".join(texts), extra=extra))
        elif kind in ("function_call", "custom_tool_call"):
            id, name = item.get("call_id"), item.get("name")
            if not (isinstance(id, str) and isinstance(name, str)):
                raise Unsayable(param, "a call needs a call_id and a name")
            written = responses_tools.bound(item.get("input")) if kind == "custom_tool_call" else item.get("arguments")
            name = responses_tools.wire_name(item.get("namespace"), name)
            parts.append(ToolCallPart(id=id, name=name, arguments=written if isinstance(written, str) else "{}"))
        else:
            said = _content(reader, f"{param}.content", item.get("content"))
            parts += [part for part in said if not isinstance(part, TextPart) or part.text.strip()]
    tokens = tokens_of([item for _param, item in group])
    return reading.restored(Message(role="assistant", parts=tuple(parts)), tokens, reader.target)


def _content(reader: Body, param: str, content: Any) -> tuple[Part, ...]:
    return reading.content_of(param, content, partial(_part, reader))


def _part(reader: Body, at: str, kind: Any, part: dict[str, Any]) -> Part:
    if kind in ("input_text", "output_text", "text", "summary_text"):
        return TextPart(text=str(part.get("text") or ""))
    if kind == "refusal":
        return TextPart(text=str(part.get("refusal") or ""))
    if kind == "input_image":
        if not part.get("image_url"):
            raise Unsayable(f"{at}.file_id", "a file that the vendor keeps can't be sent to another")
        if part.get("detail") not in (None, "auto"):
            reader.leave_out(f"{at}.detail")
        return reading.image(f"{at}.image_url", part["image_url"])
    raise Unsayable(f"{at}.type", f"a part of type {kind!r} can't be said to {reader.target.model}")


def _choice(reader: Body) -> str:
    if reader.body.get("parallel_tool_calls") is False:
        reader.control("parallel", "parallel_tool_calls", False)
    choice = reader.body.get("tool_choice") or "auto"
    if isinstance(choice, dict):
        name = choice.get("name") if choice.get("type") in ("function", "custom") else None
        if not isinstance(name, str):
            raise Unsayable("tool_choice.type", "only a function can be named here")
        reader.control("tool", "tool_choice", responses_tools.wire_name(choice.get("namespace"), name))
        return "required"
    if choice not in ("auto", "none", "required"):
        raise Unsayable("tool_choice", "this must be auto, none, required or a function")
    return str(choice)


def _effort(reader: Body) -> Effort | None:
    wanted = reader.inside("reasoning", "effort", "summary", "generate_summary")
    return reader.effort("reasoning.effort", wanted.get("effort"))


def _schema(wanted: Any) -> Schema | None:
    kind = wanted.get("type") if isinstance(wanted, dict) else wanted
    if kind in (None, "text"):
        return None
    if kind == "json_object":
        return reading.any_object()
    if kind != "json_schema":
        raise Unsayable("text.format.type", "this must be text, json_object or json_schema")
    return reading.schema("text.format.schema", wanted.get("name"), wanted.get("schema"), wanted.get("strict"))
