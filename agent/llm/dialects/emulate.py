"""Tool calls for models that have none of their own: every answer is one JSON object, either an answer or one tool call.

The schema holds small models to it (llama.cpp and its like turn it into a grammar): the first word they write decides between answering
and acting, and a call's arguments can only be what the tool takes. In the history nothing but text remains, written the way the model
writes it, so that it sees its own form and its cache holds.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

from agent.llm.dialects.history import settle, valid_arguments
from agent.llm.identity_cache import Kind
from agent.llm.messages import Message, Part, TextPart, ToolCallPart, system
from agent.llm.request import Request, Schema, ToolSpec

NAME = "answer_or_tool"

# Below this many tokens of answer, strings are bounded, so that the object closes before the limit does.
_SMALL_ANSWER = 1000
_CHARS_PER_TOKEN = 2
_STRUCTURAL = ("type", "enum", "const", "minimum", "maximum", "minItems", "maxItems", "minLength", "maxLength")
_DEPTH = 8

_HEAD = """You have tools. Every reply is one JSON object, in one of two forms.
To run a tool: {"tool": "NAME", "arguments": {...}}
The result is the next message. Run a tool rather than ask the user for what it can tell you.
To answer, when you know enough: {"answer": "what you say to the user"}
Tools:"""


def emulate(request: Request) -> Request:
    """The same request without native tools. Pure.

    The tools are described in the system message, and the answer is held to the two forms. Where the request has a schema of its
    own, or no tools, only the history is rewritten.
    """
    active = is_active(request)
    messages = _rewrite(settle(request.messages), active)
    if active:
        # As the history begins, not what is left of it on the wire: an empty message that is dropped there must not decide.
        opened = bool(request.messages) and request.messages[0].role == "system"
        messages = _described(messages, request.tools, opened=opened)
    return replace(
        request,
        messages=tuple(messages),
        tools=(),
        tool_choice="auto",
        schema=_schema(request) if active else request.schema,
    )


def is_active(request: Request) -> bool:
    """True where answers to this request come in the two forms."""
    return bool(request.tools) and request.schema is None


def bound(request: Request) -> int | None:
    """The most characters that the answer may have, where a small limit of tokens makes one necessary."""
    return request.max_tokens * _CHARS_PER_TOKEN if request.max_tokens < _SMALL_ANSWER else None


def written_call(name: str, arguments: str) -> str:
    """A tool call as the model writes it."""
    return f'{{"tool": {json.dumps(name, ensure_ascii=False)}, "arguments": {valid_arguments(arguments)}}}'


def written_answer(text: str) -> str:
    """An answer as the model writes it."""
    return json.dumps({"answer": text}, ensure_ascii=False)


def _rewrite(messages: Sequence[Message], active: bool) -> list[Message]:
    """Tool traffic as text. The results of one round become one user message of several parts."""
    said, results = Kind(("said", active), lambda message: _rewritten(message, active)), Kind("results", _results)
    written: list[Message] = []
    for is_round, group in groupby(messages, key=lambda message: message.role == "tool"):
        if is_round:
            written.append(results.of(*group))
        else:
            written += [said.of(message) if message.role == "assistant" else message for message in group]
    return written


def _results(*round: Message) -> Message:
    texts = [f"[result of {message.tool_name or 'tool'}]\n{message.text}\n" for message in round]
    return Message(role="user", parts=tuple(TextPart(text=text) for text in texts))


def _rewritten(message: Message, active: bool) -> Message:
    text = message.text
    calls = [written_call(call.name, call.arguments) for call in message.tool_calls]
    if calls:
        lines = [text, *calls] if text.strip() else calls
    else:
        lines = [written_answer(text) if active and text.strip() else text]
    parts: list[Part] = [part for part in message.parts if not isinstance(part, TextPart | ToolCallPart)]
    return replace(message, parts=(*parts, TextPart(text="\n".join(lines))))


def _described(messages: list[Message], tools: Iterable[ToolSpec], *, opened: bool) -> list[Message]:
    """The tools at the end of the first system message, or as one."""
    description = "\n".join([_HEAD, *(_signature(tool) for tool in tools)])
    if not opened:
        return [system(description), *messages]
    first = messages[0]
    part = TextPart(text=f"\n\n{description}")
    return [replace(first, parts=(*first.parts, part)), *messages[1:]]


def _signature(tool: ToolSpec) -> str:
    required = tool.parameters.get("required", ())
    properties: dict[str, Any] = tool.parameters.get("properties", {})
    arguments = ", ".join(
        f"{name}{'' if name in required else '?'}: {_type_of(schema)}" for name, schema in properties.items()
    )
    return f"- {tool.name}({arguments}): {' '.join(tool.description.split())}"


def _type_of(schema: object) -> str:
    if not isinstance(schema, dict):
        return "any"
    if "enum" in schema:
        return "|".join(str(value) for value in schema["enum"])
    kind = schema.get("type", "any")
    return "|".join(kind) if isinstance(kind, list) else str(kind)


def _schema(request: Request) -> Schema:
    limit = bound(request)
    text: dict[str, Any] = {"type": "string", "minLength": 1}  # an empty answer is a failure
    if limit:
        text["maxLength"] = limit
    # Where no tool may be called they stay described all the same: what went before must not change, or the cache is lost.
    offered = () if request.tool_choice == "none" else request.tools
    forms = [
        _object({"tool": {"type": "string", "const": tool.name}, "arguments": _arguments(tool, limit)})
        for tool in offered
    ]
    if request.tool_choice != "required":
        forms.insert(0, _object({"answer": text}))
    return Schema(NAME, forms[0] if len(forms) == 1 else {"anyOf": forms}, described=True)


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _arguments(tool: ToolSpec, limit: int | None) -> dict[str, Any]:
    properties = tool.parameters.get("properties", {})
    if limit:
        limit = max(1, limit // max(1, len(properties)))
    definitions = {**tool.parameters.get("definitions", {}), **tool.parameters.get("$defs", {})}
    arguments = _plain_schema({"type": "object", **tool.parameters}, definitions, limit, _DEPTH)
    arguments.setdefault("properties", {})
    return arguments


def _plain_schema(schema: object, definitions: dict[str, Any], limit: int | None, depth: int) -> dict[str, Any]:
    """What a grammar needs of a schema: its structure, with references written out (they would not resolve inside another)."""
    if not isinstance(schema, dict) or depth == 0:
        return {}
    if isinstance(schema.get("$ref"), str):
        target = definitions.get(schema["$ref"].rsplit("/", 1)[-1])
        return _plain_schema(target, definitions, limit, depth - 1)
    plain = {key: schema[key] for key in _STRUCTURAL if key in schema}
    for key in ("anyOf", "oneOf", "allOf"):
        if key in schema:
            plain[key] = [_plain_schema(inner, definitions, limit, depth - 1) for inner in schema[key]]
    if "items" in schema:
        plain["items"] = _plain_schema(schema["items"], definitions, limit, depth - 1)
    if "properties" in schema:
        plain["properties"] = {
            name: _plain_schema(inner, definitions, limit, depth - 1) for name, inner in schema["properties"].items()
        }
        plain["required"] = list(schema.get("required", ()))
        plain["additionalProperties"] = False
    if limit and plain.get("type") == "string" and not {"enum", "const", "maxLength"} & plain.keys():
        plain["maxLength"] = limit
    return plain
