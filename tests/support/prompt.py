"""A request's prompt as a list of items, in each dialect: what a vendor binds thoughts to, and what must only ever grow.

The list is `[tools, system, item, item …]`, each as JSON in the order of keys in which it came, cache marks taken out. Items are
messages, and on Responses what stands in `input`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

MARKS = ("cache_control", "prompt_cache_breakpoint")
BILLING = "x-anthropic-billing-header"
FORMAT = "anthropic-claude-v1"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a thought stands: in which item (counted from the first message), and at which place inside it."""

    item: int
    block: int
    thought: Mapping[str, Any]


def dialect_of(path: str) -> str:
    """`messages`, `responses` or `chat`, by a request's path."""
    if "/messages" in path:
        return "messages"
    return "responses" if path.endswith("/responses") else "chat"


def unmarked(value: Any) -> Any:
    """The value without cache marks, at any depth. A tool's own arguments are left alone: they are not the client's."""
    if isinstance(value, dict):
        return {
            key: entry
            if key in ("input", "input_schema", "parameters") and isinstance(entry, dict)
            else unmarked(entry)
            for key, entry in value.items()
            if key not in MARKS
        }
    return [unmarked(entry) for entry in value] if isinstance(value, list) else value


def canonical(value: Any) -> str:
    """The item's JSON: keys in the order in which they came, cache marks out."""
    return json.dumps(unmarked(value), ensure_ascii=True)


def items_of(body: Mapping[str, Any]) -> list[Any]:
    """The conversation's own items: `messages`, or Responses' `input` (a bare string is one user message)."""
    if "messages" in body:
        return list(body["messages"])
    given = body.get("input", [])
    return [{"role": "user", "content": given}] if isinstance(given, str) else list(given)


def system_of(body: Mapping[str, Any]) -> Any:
    """The system text that stands apart, without the billing line that one client puts into its first block."""
    system = body.get("system", body.get("instructions", ""))
    if not isinstance(system, list) or not system:
        return system
    first = system[0].get("text", "") if isinstance(system[0], dict) else ""
    if not first.startswith(BILLING):
        return system
    rest = first.partition("\n")[2]
    return [{**system[0], "text": rest}, *system[1:]] if rest.strip() else system[1:]


def prompt(body: Mapping[str, Any], *, joined: bool = False) -> list[str]:
    """The whole list. `joined`: consecutive user messages are one, as an endpoint may read them."""
    items = items_of(body)
    if joined:
        items = [item for item, _origin in join_users(items)]
    return [canonical(part) for part in (body.get("tools", []), system_of(body), *items)]


def join_users(items: list[Any]) -> list[tuple[Any, int]]:
    """Items with runs of user messages made one, each with the index of its first."""
    result: list[tuple[Any, int]] = []
    for index, item in enumerate(items):
        if result and _is_user(item) and _is_user(result[-1][0]):
            before, origin = result[-1]
            result[-1] = ({**before, "content": [*_content(before), *_content(item)]}, origin)
        else:
            result.append(({**item, "content": _content(item)} if _is_user(item) else item, index))
    return result


def thoughts_of(body: Mapping[str, Any], dialect: str) -> Iterator[Place]:
    """Every signed thought that a request carries, in order."""
    for index, item in enumerate(items_of(body)):
        if not isinstance(item, dict):
            continue
        if dialect == "responses":
            if item.get("type") == "reasoning" and item.get("encrypted_content"):
                yield Place(index, 0, item)
            continue
        if item.get("role") != "assistant":
            continue
        blocks = item.get("content") if dialect == "messages" else item.get("reasoning_details")
        for place, block in enumerate(blocks if isinstance(blocks, list) else ()):
            if signature_of(block):
                yield Place(index, place, block)


def signature_of(block: Any) -> str:
    """What binds a thought: its signature, or the sealed thought itself; empty for anything else."""
    if not isinstance(block, dict):
        return ""
    if block.get("type") in ("thinking", "reasoning.text", "reasoning.summary"):
        return str(block.get("signature") or "")
    if block.get("type") in ("redacted_thinking", "reasoning.encrypted"):
        return str(block.get("data") or "")
    return str(block.get("encrypted_content") or "") if block.get("type") == "reasoning" else ""


def text_of_thought(block: Mapping[str, Any]) -> str:
    """The readable part of a thought, which its signature covers, too."""
    if block.get("type") == "reasoning":
        return "".join(part.get("text", "") for part in block.get("summary") or ())
    return str(block.get("thinking") or block.get("text") or block.get("summary") or "")


def own_blocks(body: Mapping[str, Any], dialect: str, place: Place) -> list[Any]:
    """What stands before a thought inside its own reply."""
    item = items_of(body)[place.item]
    if dialect == "responses":
        return []
    return list((item["content"] if dialect == "messages" else item["reasoning_details"])[: place.block])


def call_ids(item: Any) -> set[str]:
    """The ids of the tool calls in a reply's item."""
    if not isinstance(item, dict):
        return set()
    if item.get("type") == "function_call":
        return {str(item.get("call_id"))}
    if item.get("role") != "assistant":
        return set()
    content = item.get("content")
    blocks = content if isinstance(content, list) else []
    used = {str(block["id"]) for block in blocks if block.get("type") == "tool_use"}
    return used | {str(call.get("id")) for call in item.get("tool_calls") or ()}


def said_in(item: Any) -> str:
    """The text of an assistant item; empty for others."""
    if not isinstance(item, dict) or item.get("role") != "assistant":
        return ""
    return "".join(block.get("text", "") for block in _content(item) if block.get("type") in ("text", "output_text"))


def is_of_the_user(item: str) -> bool:
    """Whether an item's JSON is a user's: their words, or results of tools."""
    value = json.loads(item)
    return value.get("role") in ("user", "tool") or str(value.get("type", "")).endswith("_output")


def texts(value: Any) -> str:
    """All strings of a value, one a line: for asking whether some words are in a request at all."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return "\n".join(texts(entry) for entry in value.values())
    return "\n".join(texts(entry) for entry in value) if isinstance(value, list) else ""


def marks(body: Mapping[str, Any]) -> list[tuple[int, int]]:
    """Where the cache marks stand: (item of the whole list, block inside it)."""
    parts = [body.get("tools", []), system_of(body), *items_of(body)]
    return [
        (number, block)
        for number, part in enumerate(parts)
        for block, entry in enumerate(blocks_of(part))
        if _marked(entry)
    ]


def blocks_of(part: Any) -> list[Any]:
    """What can carry a mark inside one item of the list."""
    if isinstance(part, list):
        return part
    if not isinstance(part, dict):
        return [part]
    content = part.get("content", part.get("output"))
    return content if isinstance(content, list) and content else [part]


def _marked(value: Any) -> bool:
    if isinstance(value, list):
        return any(_marked(entry) for entry in value)
    return isinstance(value, dict) and (any(value.get(mark) for mark in MARKS) or _marked(value.get("content")))


def _is_user(item: Any) -> bool:
    return isinstance(item, dict) and item.get("role") == "user"


def _content(item: Mapping[str, Any]) -> list[Any]:
    content = item.get("content") or []
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content)
