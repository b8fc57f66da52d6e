"""A Chat Completions body as a request of ours."""

from __future__ import annotations

from functools import partial
from typing import Any

from agent.llm.messages import Message, Part, ReasoningPart, TextPart, ToolCallPart
from agent.llm.request import Effort, Schema, ToolSpec
from moa.serve.wires import reading
from moa.serve.wires.kept import is_mark
from moa.serve.wires.reading import Body
from moa.serve.wires.wire import Asked, Target, Unsayable

_READ = (
    *("model", "messages", "stream", "max_tokens", "max_completion_tokens", "temperature", "top_p", "top_k", "stop"),
    *(
        "seed",
        "frequency_penalty",
        "presence_penalty",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "response_format",
    ),
    *("reasoning_effort", "reasoning", "user", "service_tier", "verbosity", "prompt_cache_key", "stream_options"),
)
_HINTS = (
    *("metadata", "store", "prediction", "safety_identifier", "prompt_cache_retention", "prompt_cache_options"),
    *("cache_control", "usage", "session_id", "include_reasoning", "trace", "moderation"),
)
_HARMLESS: dict[str, tuple[object, ...]] = {"n": (1,), "modalities": (["text"],), "top_logprobs": (0,)}


def read(body: dict[str, Any], target: Target) -> Asked:
    """The request. Raises Unsayable."""
    reader = Body(body, target)
    reader.fields(_READ, _HINTS, _HARMLESS)
    messages = _conversation(reader)
    tools, choice = _tools(reader)
    reader.numbers("top_p", "top_k", "seed", "frequency_penalty", "presence_penalty")
    reader.control("stop", "stop", reading.strings("stop", body.get("stop")))
    reader.tier("service_tier", {})
    reader.control("user", "user", body.get("user") or None)
    reader.verbosity("verbosity", body.get("verbosity"))
    limit = reader.limit("max_completion_tokens", "max_tokens")
    key = body.get("prompt_cache_key")
    return reader.request(
        messages,
        tools=tools,
        tool_choice=choice,
        max_tokens=limit,
        temperature=reader.number("temperature"),
        reasoning=_effort(reader, limit),
        schema=_schema(body.get("response_format")),
        cache_key=key if isinstance(key, str) and key else None,
    )


def _conversation(reader: Body) -> list[Message]:
    messages: list[Message] = []
    names: dict[str, str] = {}
    for param, item in reading.dicts("messages", reader.body.get("messages")):
        role = item.get("role")
        if item.get("name") and role in ("user", "system", "developer"):
            reader.leave_out(f"{param}.name")
        if role in ("system", "developer"):
            messages.append(Message(role="system", parts=_content(reader, param, item.get("content"))))
        elif role == "user":
            messages.append(Message(role="user", parts=_content(reader, param, item.get("content"))))
        elif role == "assistant":
            message = _reply(reader, param, item)
            names.update(reading.tool_names([message]))
            messages += [message] if message.parts else []
        elif role == "tool":
            id = item.get("tool_call_id")
            if not isinstance(id, str):
                raise Unsayable(f"{param}.tool_call_id", "this must be the id of a call")
            parts = _content(reader, param, item.get("content"))
            messages.append(Message(role="tool", parts=parts, tool_call_id=id, tool_name=names.get(id)))
        else:
            raise Unsayable(f"{param}.role", "this must be system, developer, user, assistant or tool")
    return messages


def _content(reader: Body, param: str, content: Any) -> tuple[Part, ...]:
    return reading.content_of(f"{param}.content", content, partial(_part, reader))


def _part(reader: Body, at: str, kind: Any, part: dict[str, Any]) -> Part:
    if kind in ("text", "refusal"):
        return TextPart(text=str(part.get(kind) or ""))
    if kind == "image_url":
        held = part.get("image_url")
        url = held.get("url") if isinstance(held, dict) else held
        if isinstance(held, dict) and held.get("detail") not in (None, "auto"):
            reader.leave_out(f"{at}.image_url.detail")
        return reading.image(f"{at}.image_url.url", url)
    raise Unsayable(f"{at}.type", f"a part of type {kind!r} can't be said to {reader.target.model}")


def _reply(reader: Body, param: str, item: dict[str, Any]) -> Message:
    if item.get("function_call"):
        raise Unsayable(f"{param}.function_call", "this was replaced by tool_calls")
    if item.get("audio"):
        raise Unsayable(f"{param}.audio", f"audio can't be said to {reader.target.model}")
    parts: list[Part] = []
    if thought := thought_of(item):
        parts.append(ReasoningPart(text=thought))
    said = _content(reader, param, item.get("content")) or _content(reader, param, item.get("refusal"))
    parts += [part for part in said if not isinstance(part, TextPart) or part.text.strip()]
    for at, call in reading.dicts(f"{param}.tool_calls", item.get("tool_calls") or []):
        function = call.get("function")
        if call.get("type", "function") != "function" or not isinstance(function, dict):
            raise Unsayable(f"{at}.type", "only calls of functions can be said here")
        id, name, arguments = call.get("id"), function.get("name"), function.get("arguments")
        if not (isinstance(id, str) and isinstance(name, str)):
            raise Unsayable(at, "a call needs an id and a name")
        parts.append(ToolCallPart(id=id, name=name, arguments=arguments if isinstance(arguments, str) else "{}"))
    return reading.restored(Message(role="assistant", parts=tuple(parts)), tokens_of(item), reader.target)


def thought_of(item: dict[str, Any]) -> str:
    """What a reply thought aloud, under any of the names that servers give it."""
    return next((item[name] for name in ("reasoning_content", "reasoning") if isinstance(item.get(name), str)), "")


def tokens_of(item: dict[str, Any]) -> list[Any]:
    """The tokens in a reply's reasoning details."""
    details = item.get("reasoning_details")
    found = [detail.get("data") for detail in details if isinstance(detail, dict)] if isinstance(details, list) else []
    return [token for token in found if is_mark(token)]


def _tools(reader: Body) -> tuple[tuple[ToolSpec, ...], str]:
    specs = []
    for param, tool in reading.dicts("tools", reader.body.get("tools") or []):
        function = tool.get("function")
        if tool.get("type") != "function" or not isinstance(function, dict):
            words = (
                f"a tool of type {tool.get('type')!r} is another vendor's, and {reader.target.model} does not have it"
            )
            raise Unsayable(f"{param}.type", words)
        specs.append(
            reading.tool(
                f"{param}.function",
                function.get("name"),
                function.get("description"),
                function.get("parameters"),
                function.get("strict"),
            )
        )
    if reader.body.get("parallel_tool_calls") is False:
        reader.control("parallel", "parallel_tool_calls", False)
    choice = reader.body.get("tool_choice") or "auto"
    if isinstance(choice, dict):
        name = (
            reading.table("tool_choice.function", choice.get("function")).get("name")
            if choice.get("type") == "function"
            else None
        )
        if not isinstance(name, str):
            raise Unsayable("tool_choice.type", "only a function can be named here")
        reader.control("tool", "tool_choice", name)
        choice = "required"
    if choice not in ("auto", "none", "required"):
        raise Unsayable("tool_choice", "this must be auto, none, required or a function")
    return tuple(specs), choice


def _effort(reader: Body, limit: int) -> Effort | None:
    wanted = reader.inside("reasoning", "effort", "max_tokens", "enabled", "exclude", "summary")
    effort = reader.effort("reasoning_effort", reader.body.get("reasoning_effort"))
    effort = effort or reader.effort("reasoning.effort", wanted.get("effort"))
    if wanted.get("enabled") is False:
        return "none"
    if effort is None and isinstance(budget := wanted.get("max_tokens"), int):
        return reading.effort_of(budget, limit)
    return effort


def _schema(wanted: Any) -> Schema | None:
    kind = wanted.get("type") if isinstance(wanted, dict) else wanted
    if kind in (None, "text"):
        return None
    if kind == "json_object":
        return reading.any_object()
    held = wanted.get("json_schema") if isinstance(wanted, dict) else None
    if kind != "json_schema" or not isinstance(held, dict):
        raise Unsayable("response_format.type", "this must be text, json_object or json_schema")
    return reading.schema(
        "response_format.json_schema.schema", held.get("name"), held.get("schema"), held.get("strict")
    )
