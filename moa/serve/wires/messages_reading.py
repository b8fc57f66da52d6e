"""A Messages body as a request of ours."""

from __future__ import annotations

import json
from typing import Any

from agent.llm.messages import Message, Part, ReasoningPart, TextPart, ToolCallPart
from agent.llm.request import Effort, Schema, ToolSpec
from moa.serve.wires import reading
from moa.serve.wires.reading import Body
from moa.serve.wires.wire import Asked, Target, Unsayable

_READ = (
    *(
        "model",
        "messages",
        "system",
        "max_tokens",
        "stream",
        "temperature",
        "top_p",
        "top_k",
        "stop_sequences",
        "tools",
    ),
    *("tool_choice", "thinking", "output_config", "output_format", "service_tier", "metadata"),
)
# The cache's marks are set anew by the dialect that sends; how a vendor manages its own context and thoughts has no meaning elsewhere.
_HINTS = (
    "cache_control",
    "context_management",
    "betas",
    "anthropic_beta",
    "diagnostics",
    "user_profile_id",
    "fallbacks",
)
_HARMLESS: dict[str, tuple[object, ...]] = {"speed": ("standard",), "inference_geo": ("global",)}
_BILLING = "x-anthropic-billing-header:"


def read(body: dict[str, Any], target: Target) -> Asked:
    """The request. Raises Unsayable."""
    reader = Body(body, target)
    reader.fields(_READ, _HINTS, _HARMLESS)
    messages = [*_system(reader, body.get("system")), *_conversation(reader)]
    tools, choice = _tools(reader)
    reader.numbers("top_p", "top_k")
    reader.control("stop", "stop_sequences", reading.strings("stop_sequences", body.get("stop_sequences")))
    reader.tier("service_tier", {"standard_only": "default"})
    user = reading.table("metadata", body.get("metadata")).get("user_id")
    if isinstance(user, str) and len(user) <= 64:
        reader.control("user", "metadata.user_id", user)
    elif user:
        reader.leave_out("metadata.user_id")  # OpenAI takes 64 characters at most
    limit = reader.limit("max_tokens")
    return reader.request(
        messages,
        tools=tools,
        tool_choice=choice,
        max_tokens=limit,
        temperature=reader.number("temperature"),
        reasoning=_effort(reader, limit),
        schema=_schema(body),
    )


def _system(reader: Body, system: Any) -> list[Message]:
    if not system:
        return []
    if isinstance(system, str):
        return [Message(role="system", parts=(TextPart(text=system),))]
    texts = []
    for param, block in reading.dicts("system", system):
        if block.get("type") != "text" or not isinstance(block.get("text"), str):
            raise Unsayable(f"{param}.type", "only text can stand here")
        if block["text"].startswith(_BILLING):
            # Claude Code's line for its vendor's books is new with every request: it would empty every cache, and concerns nobody else.
            reader.leave_out(f"{param} (billing header)")
        elif block["text"].strip():
            texts.append(block["text"])
    return [Message(role="system", parts=(TextPart(text="\n\n".join(texts)),))] if texts else []


def _conversation(reader: Body) -> list[Message]:
    messages: list[Message] = []
    names: dict[str, str] = {}
    for param, item in reading.dicts("messages", reader.body.get("messages")):
        role, content = item.get("role"), item.get("content")
        if role not in ("user", "assistant", "system"):
            raise Unsayable(f"{param}.role", "this must be user, assistant or system")
        blocks = (
            [(f"{param}.content", {"type": "text", "text": content})]
            if isinstance(content, str)
            else reading.dicts(f"{param}.content", content)
        )
        if role == "assistant":
            message = _reply(reader, blocks)
            names.update(reading.tool_names([message]))
            messages += [message] if message.parts else []
        elif role == "system":
            messages.append(Message(role="system", parts=reading.merged([_part(reader, *block) for block in blocks])))
        else:
            messages += _user(reader, blocks, names)
    return messages


def _user(reader: Body, blocks: list[tuple[str, dict[str, Any]]], names: dict[str, str]) -> list[Message]:
    """The user's words, and the results of tools, each a message, in the order in which they stand."""
    messages: list[Message] = []
    words: list[Part] = []
    for param, block in blocks:
        if block.get("type") != "tool_result":
            words.append(_part(reader, param, block))
            continue
        if words:
            messages.append(Message(role="user", parts=reading.merged(words)))
            words = []
        messages.append(_result(reader, param, block, names))
    if said := reading.merged(words):
        messages.append(Message(role="user", parts=said))
    return messages


def _result(reader: Body, param: str, block: dict[str, Any], names: dict[str, str]) -> Message:
    id, content = block.get("tool_use_id"), block.get("content")
    if not isinstance(id, str):
        raise Unsayable(f"{param}.tool_use_id", "this must be the id of a call")
    parts: list[Part] = []
    if isinstance(content, str):
        parts.append(TextPart(text=content))
    elif content is not None:
        parts += [_part(reader, *inner) for inner in reading.dicts(f"{param}.content", content)]
    return Message(
        role="tool",
        parts=reading.merged(parts),
        tool_call_id=id,
        tool_name=names.get(id),
        is_error=block.get("is_error") is True,
    )


def _part(reader: Body, param: str, block: dict[str, Any]) -> Part:
    kind = block.get("type")
    if kind == "text" and isinstance(block.get("text"), str):
        return TextPart(text=block["text"])
    if kind == "image":
        source = reading.table(f"{param}.source", block.get("source"))
        if source.get("type") == "base64":
            return reading.based(f"{param}.source", source.get("media_type"), source.get("data"))
        if source.get("type") == "url":
            return reading.image(f"{param}.source.url", source.get("url"))
        raise Unsayable(f"{param}.source.type", "a file that the vendor keeps can't be sent to another")
    if kind in ("document", "search_result"):
        return _document(param, block)
    raise Unsayable(f"{param}.type", f"a block of type {kind!r} can't be said to {reader.target.model}")


def _document(param: str, block: dict[str, Any]) -> TextPart:
    """A document of text, with its title; another kind has no place elsewhere."""
    if reading.table(f"{param}.citations", block.get("citations")).get("enabled"):
        raise Unsayable(f"{param}.citations", "the model behind this endpoint can't cite documents by place")
    source = block.get("source")
    found = block.get("content") if block.get("type") == "search_result" else None
    if isinstance(source, dict) and source.get("type") == "text":
        found = [{"type": "text", "text": source.get("data", "")}]
    elif isinstance(source, dict) and source.get("type") == "content":
        found = source.get("content")
        found = [{"type": "text", "text": found}] if isinstance(found, str) else found
    if not isinstance(found, list) or any(not isinstance(part, dict) or part.get("type") != "text" for part in found):
        raise Unsayable(f"{param}.source", "only documents of plain text can be sent to this endpoint")
    named = [str(block[name]) for name in ("title", "context") if block.get(name)]
    if isinstance(source, str):
        named.append(source)
    text = reading.joined([str(part.get("text", "")) for part in found])
    head = f"[document: {', '.join(named)}]\n" if named else "[document]\n"
    return TextPart(text=head + text)


def _reply(reader: Body, blocks: list[tuple[str, dict[str, Any]]]) -> Message:
    parts: list[Part] = []
    for param, block in blocks:
        kind = block.get("type")
        if kind == "text" and isinstance(block.get("text"), str):
            if block["text"].strip():
                parts.append(TextPart(text=block["text"]))
            if block.get("citations"):
                reader.leave_out("messages (citations of earlier answers)")
        elif kind == "thinking":
            parts.append(ReasoningPart(text=str(block.get("thinking") or ""), extra=_sealed(block, "signature")))
        elif kind == "redacted_thinking":
            parts.append(ReasoningPart(text="", extra=_sealed(block, "data")))
        elif kind == "tool_use" and isinstance(block.get("id"), str) and isinstance(block.get("name"), str):
            arguments = json.dumps(block.get("input") or {}, ensure_ascii=False)
            parts.append(ToolCallPart(id=block["id"], name=block["name"], arguments=arguments))
        else:
            raise Unsayable(f"{param}.type", f"a block of type {kind!r} can't be said to {reader.target.model}")
    tokens = tokens_of([block for _param, block in blocks])
    return reading.restored(Message(role="assistant", parts=tuple(parts)), tokens, reader.target)


def tokens_of(blocks: list[dict[str, Any]]) -> list[Any]:
    """What stands in a reply's thoughts where a signature does."""
    return [block.get("signature") or block.get("data") for block in blocks if "thinking" in str(block.get("type"))]


def _sealed(block: dict[str, Any], name: str) -> dict[str, Any] | None:
    return {"type": block["type"], name: block[name]} if block.get(name) else None


def _tools(reader: Body) -> tuple[tuple[ToolSpec, ...], str]:
    specs = []
    for param, tool in reading.dicts("tools", reader.body.get("tools") or []):
        kind = tool.get("type") or "custom"
        if kind != "custom":
            raise Unsayable(
                f"{param}.type",
                f"{kind} is a tool of another vendor, and {reader.target.model} does not have it: leave it out of the request",
            )
        if tool.get("defer_loading"):
            raise Unsayable(f"{param}.defer_loading", "tools can't be loaded later on this endpoint")
        specs.append(
            reading.tool(param, tool.get("name"), tool.get("description"), tool.get("input_schema"), tool.get("strict"))
        )
    choice = reading.table("tool_choice", reader.body.get("tool_choice"))
    kind = choice.get("type", "auto")
    if kind not in ("auto", "any", "tool", "none"):
        raise Unsayable("tool_choice.type", "this must be auto, any, tool or none")
    if kind == "tool":
        reader.control("tool", "tool_choice.name", choice.get("name"))
    if choice.get("disable_parallel_tool_use"):
        reader.control("parallel", "tool_choice.disable_parallel_tool_use", False)
    return tuple(specs), {"any": "required", "tool": "required"}.get(kind, kind)


def _effort(reader: Body, limit: int) -> Effort | None:
    # How much of the thoughts is shown, and what becomes of those that fail a check, has no meaning elsewhere.
    thinking = reader.inside("thinking", "type", "budget_tokens", "display", "block_binding")
    config = reader.inside("output_config", "effort", "format")
    effort = reader.effort("output_config.effort", config.get("effort"))
    kind = thinking.get("type")
    if kind == "disabled":
        return "none"
    if kind not in (None, "adaptive", "enabled"):
        reader.leave_out("thinking.type")
    if effort is not None or kind != "enabled":
        return effort
    budget = thinking.get("budget_tokens")
    if not isinstance(budget, int):
        raise Unsayable("thinking.budget_tokens", "this must be a number of tokens")
    return reading.effort_of(budget, limit)


def _schema(body: dict[str, Any]) -> Schema | None:
    config = reading.table("output_config", body.get("output_config"))
    for param, wanted in (("output_config.format", config.get("format")), ("output_format", body.get("output_format"))):
        if wanted is None:
            continue
        if not isinstance(wanted, dict) or wanted.get("type") != "json_schema":
            raise Unsayable(f"{param}.type", "this must be json_schema")
        return reading.schema(f"{param}.schema", wanted.get("name"), wanted.get("schema"), True)
    return None
