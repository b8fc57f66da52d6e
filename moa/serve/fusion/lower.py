"""A body without server tools: these become ordinary functions, and the calls of earlier turns ordinary calls with their results.

Each wire brings a call back in its own form: `reasoning_details` of type `reasoning.server_tool_call` (Chat Completions), items of the
tool's type (Responses), `server_tool_use` blocks with their result (Messages). A client that drops these loses earlier panels.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from moa.serve.fusion.limits import Limits, read_limits
from moa.serve.fusion.offered import (
    ADVISOR,
    ANTHROPIC_ADVISOR,
    CONSULT,
    FUNCTIONS,
    FUSION,
    Offered,
    is_server_tool,
    read_tools,
)
from moa.serve.fusion.parameters import Fusion, find_plugin
from moa.serve.guidance.pieces import dicts, text

DETAIL = "reasoning.server_tool_call"
RESULT_BLOCKS: Mapping[str, str] = {
    FUNCTIONS[FUSION]: "openrouter_fusion_tool_result",
    FUNCTIONS[CONSULT]: "moa_consult_tool_result",
    FUNCTIONS[ADVISOR]: "openrouter_advisor_tool_result",
    FUNCTIONS[ANTHROPIC_ADVISOR]: "advisor_tool_result",
}
"""The type of the block with a server tool's result on the Messages wire, by the tool's name. Anthropic's own is the last."""


@dataclass(frozen=True, slots=True)
class Lowered:
    """A body that any endpoint understands, and what was taken out of it. `plugin` is its fusion plugin."""

    body: dict[str, Any]
    tools: tuple[Offered, ...] = ()
    plugin: Fusion | None = None
    limits: Limits = field(default_factory=Limits)

    @property
    def is_served(self) -> bool:
        """Whether calls are executed here, so that the reply goes through `loop`."""
        return bool(self.tools)


def lower(
    wire: str,
    body: dict[str, Any],
    *,
    fused: bool = False,
    presets: Callable[[], Collection[str]] = tuple,
    inside: bool = False,
) -> Lowered:
    """`wire` is `chat`, `responses` or `messages`; `fused`: the model is Fusion's own; `presets` are the user's; `inside`: it comes from inside of
    a panel, where no tool asks another. The body itself where there
    is nothing to do. Raises UsageError for what can't be."""
    if not (fused or body.get("plugins")) and not _mentions(wire, body):
        return Lowered(body)
    plugin = find_plugin(body.get("plugins"), presets)
    off = plugin is not None and not plugin.enabled
    tools = read_tools(body.get("tools"), plugin=plugin, fused=fused and not off, presets=presets)
    if off:
        tools = tuple(tool for tool in tools if tool.type != FUSION)
    if inside:
        tools = ()
    key = "input" if wire == "responses" else "messages"
    items = body.get(key)
    plain = (
        {"chat": _chat, "responses": _responses, "messages": _messages}[wire](items)
        if isinstance(items, list)
        else items
    )
    offers = any(map(is_server_tool, body.get("tools") or ())) if isinstance(body.get("tools"), list) else False
    if plain is items and not (tools or offers or plugin):
        return Lowered(body)
    limits = read_limits(body, responses=wire == "responses") if tools else Limits()
    out = {**body, key: plain} if items is not None else dict(body)
    if plugin is not None:
        rest = [each for each in body["plugins"] if not (isinstance(each, Mapping) and each.get("id") == "fusion")]
        out["plugins"] = rest
        if not rest:
            del out["plugins"]
    if tools:
        out.pop("stop_server_tools_when", None)
        if wire == "responses":
            out.pop("max_tool_calls", None)
    if tools or offers:
        out["tools"] = [each for each in body.get("tools") or () if not is_server_tool(each)]
        out["tools"] += [_function(wire, tool) for tool in tools]
        if not out["tools"]:
            del out["tools"]
        _tool_choice(wire, out)
    return Lowered(out, tools, plugin, limits)


def _mentions(wire: str, body: Mapping[str, Any]) -> bool:
    """Whether there may be anything to do: nearly always there is not, and that is to cost nothing."""
    tools = body.get("tools")
    if isinstance(tools, list) and any(map(is_server_tool, tools)):
        return True
    items = body.get("input" if wire == "responses" else "messages")
    return isinstance(items, list) and any(map(_MENTIONS[wire], items))


_MENTIONS: Mapping[str, Callable[[Any], bool]] = {
    "chat": lambda item: isinstance(item, dict) and bool(item.get("reasoning_details")),
    "responses": is_server_tool,
    "messages": lambda item: (
        isinstance(item, dict)
        and item.get("role") == "assistant"
        and any(_is_use(block) or _is_result(block) for block in dicts(item.get("content")))
    ),
}


def _function(wire: str, tool: Offered) -> dict[str, Any]:
    if wire == "messages":
        return {"name": tool.function, "description": tool.description, "input_schema": tool.parameters}
    function = {"name": tool.function, "description": tool.description, "parameters": tool.parameters}
    return {"type": "function", "function": function} if wire == "chat" else {"type": "function", **function}


def _tool_choice(wire: str, out: dict[str, Any]) -> None:
    """A server tool that is chosen by its type: with it alone that is any tool; a choice without tools says nothing."""
    choice = out.get("tool_choice")
    if choice is None:
        return
    if "tools" not in out:
        del out["tool_choice"]
        return
    named = choice.get("type") if isinstance(choice, Mapping) else None
    server = str(named) in FUNCTIONS or (
        wire == "messages" and named == "tool" and choice.get("name") in FUNCTIONS.values()
    )
    if server:
        out["tool_choice"] = {"type": "any"} if wire == "messages" else "required"


# Earlier calls


def _chat(items: Sequence[Any]) -> Any:
    made: list[Any] = []
    changed = False
    for item in items:
        details = item.get("reasoning_details") if isinstance(item, dict) else None
        calls = [each for each in dicts(details) if each.get("type") == DETAIL and _function_of(each.get("tool_name"))]
        if not calls:
            made.append(item)
            continue
        changed = True
        ids = [text(call.get("tool_call_id")) or f"server_{len(made)}_{at}" for at, call in enumerate(calls)]
        asked = [
            {
                "id": id,
                "type": "function",
                "function": {
                    "name": _function_of(call.get("tool_name")),
                    "arguments": text(call.get("arguments")) or "{}",
                },
            }
            for id, call in zip(ids, calls, strict=True)
        ]
        made.append({"role": "assistant", "content": None, "tool_calls": asked})
        made += [
            {"role": "tool", "tool_call_id": id, "content": text(call.get("result"))}
            for id, call in zip(ids, calls, strict=True)
        ]
        rest = {name: value for name, value in item.items() if name != "reasoning_details"}
        if kept := [each for each in details or () if each not in calls]:
            rest["reasoning_details"] = kept
        if rest.get("content") or rest.get("tool_calls") or kept:
            made.append(rest)
    return made if changed else items


def _responses(items: Sequence[Any]) -> Any:
    made: list[Any] = []
    changed = False
    for at, item in enumerate(items):
        if not is_server_tool(item):
            made.append(item)
            continue
        changed = True
        id = text(item.get("id")) or f"server_{at}"
        function = text(item.get("instance_name")) or FUNCTIONS[item["type"]]
        made.append({"type": "function_call", "call_id": id, "name": function, "arguments": _arguments(item)})
        made.append({"type": "function_call_output", "call_id": id, "output": result_of_item(item)})
    return made if changed else items


def _arguments(item: Mapping[str, Any]) -> str:
    key = "question" if item["type"] == CONSULT else "prompt"
    said = text(item.get("prompt")) or text(item.get("question"))
    return json.dumps({key: said} if said else {}, ensure_ascii=False)


def result_of_item(item: Mapping[str, Any]) -> str:
    """The tool's result as the model saw it, from the item that the client kept."""
    if item["type"] == FUSION:
        known = ("analysis", "responses", "failed_models")
        if item.get("responses"):
            return json.dumps({"status": "ok", **{key: item[key] for key in known if key in item}}, ensure_ascii=False)
        failed = {
            "status": "error",
            "error": text(item.get("error")),
            "failure_reason": text(item.get("failure_reason")),
        }
        return json.dumps(failed, ensure_ascii=False)
    return text(item.get("advice")) or text(item.get("error"))


def _messages(items: Sequence[Any]) -> Any:
    made: list[Any] = []
    changed = False
    for item in items:
        blocks = item.get("content") if isinstance(item, dict) and item.get("role") == "assistant" else None
        if not any(_is_use(block) or _is_result(block) for block in dicts(blocks)):
            made.append(item)
            continue
        changed = True
        made += _split(item, dicts(blocks))
    return made if changed else items


def _split(item: dict[str, Any], blocks: Sequence[dict[str, Any]]) -> list[Any]:
    """One reply as the several that it was: a call ends one, its result stands in a message between them."""
    made: list[Any] = []
    results = {text(block.get("tool_use_id")): block for block in blocks if _is_result(block)}
    said: list[Any] = []
    answered: list[Any] = []

    def close() -> None:
        nonlocal said, answered
        if said:
            made.append({**item, "content": said})
        if answered:
            made.append({"role": "user", "content": answered})
        said, answered = [], []

    for block in blocks:
        if _is_result(block):
            continue
        if _is_use(block):
            if (result := results.get(text(block.get("id")))) is None:
                continue  # it was never answered (pause_turn, a client that went away)
            said.append(
                {"type": "tool_use", "id": block["id"], "name": block["name"], "input": block.get("input") or {}}
            )
            answered.append(
                {"type": "tool_result", "tool_use_id": block["id"], "content": result_of_block(result.get("content"))}
            )
            continue
        if answered:
            close()
        said.append(block)
    close()
    return made


def result_of_block(content: Any) -> str:
    """The text that the model saw, from a result block's content."""
    if isinstance(content, Mapping):
        if isinstance(content.get("text"), str):
            return str(content["text"])
        if content.get("type") == "advisor_tool_result_error":
            return f"No advice: {text(content.get('error_code')) or 'unavailable'}."
        if content.get("type") == "advisor_redacted_result":
            return "(advice that was given sealed, by another server)"
        return json.dumps(content, ensure_ascii=False)
    return text(content)


def _is_use(block: Mapping[str, Any]) -> bool:
    return block.get("type") == "server_tool_use" and _base(text(block.get("name"))) in RESULT_BLOCKS


def _is_result(block: Mapping[str, Any]) -> bool:
    return block.get("type") in RESULT_BLOCKS.values()


def _base(function: str) -> str:
    return function.partition("__")[0]


def _function_of(tool_name: Any) -> str:
    """The name that a model called a tool by, from the one on the wire: its type, or the name itself."""
    name = text(tool_name)
    return FUNCTIONS.get(name) or (name if _base(name) in RESULT_BLOCKS else "")
