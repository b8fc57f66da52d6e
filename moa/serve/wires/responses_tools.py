"""A Responses client's tools as functions, and the way back: Codex has free-form tools, and tools in namespaces."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agent.llm.request import ToolSpec
from agent.text import foreign_json
from moa.serve.wires import reading
from moa.serve.wires.wire import Target, Unsayable

INPUT = "input"
"""The one parameter of a free-form tool that was made a function."""


@dataclass(slots=True)
class Tools:
    """The tools of one body. `custom` are free-form; `spaces` maps the name that a model sees to a namespace and the name in it."""

    specs: list[ToolSpec] = field(default_factory=list)
    custom: set[str] = field(default_factory=set)
    spaces: dict[str, tuple[str, str]] = field(default_factory=dict)

    def item(self, id: str, name: str, call_id: str, arguments: str, status: str) -> dict[str, Any]:
        """A call as the client knows the tool."""
        space, own = self.spaces.get(name, ("", name))
        head = {"id": id, "call_id": call_id, "name": own, **({"namespace": space} if space else {}), "status": status}
        if name in self.custom:
            return {**head, "type": "custom_tool_call", "input": free(arguments)}
        return {**head, "type": "function_call", "arguments": arguments}


def free(arguments: str) -> str:
    """What was written for a free-form tool; a model that wrote no object is taken at its word."""
    if not arguments:
        return ""
    try:
        value = foreign_json.loads(arguments)
    except ValueError:
        return arguments
    found = value.get(INPUT) if isinstance(value, dict) else None
    return found if isinstance(found, str) else arguments


def bound(text: Any) -> str:
    """A free-form tool's input as a function's arguments."""
    return json.dumps({INPUT: text if isinstance(text, str) else ""}, ensure_ascii=False)


def wire_name(space: Any, name: Any) -> str:
    """The name under which a model sees a tool."""
    return f"{space}__{name}" if isinstance(space, str) and space else str(name)


def named(body: Mapping[str, Any]) -> Tools:
    """The tools of a body that was read already."""
    try:
        return read(body.get("tools"), None)
    except Unsayable:
        return Tools()


def read(listed: Any, target: Target | None) -> Tools:
    """The tools. Raises Unsayable for one that is neither a function nor free-form."""
    tools = Tools()
    _add(tools, "tools", listed or [], "", target)
    return tools


def _add(tools: Tools, param: str, listed: Any, space: str, target: Target | None) -> None:
    for at, tool in reading.dicts(param, listed):
        kind, name = tool.get("type"), tool.get("name")
        seen = wire_name(space, name)
        if kind == "namespace" and isinstance(name, str) and not space:
            _add(tools, f"{at}.tools", tool.get("tools") or [], name, target)
            continue
        if kind == "function":
            held = (tool.get("description"), tool.get("parameters"), tool.get("strict"))
            tools.specs.append(reading.tool(at, seen if isinstance(name, str) else name, *held))
        elif kind == "custom" and isinstance(name, str):
            tools.custom.add(seen)
            tools.specs.append(_custom(seen, tool))
        else:
            raise Unsayable(f"{at}.type", _missing(str(kind), target))
        if space:
            tools.spaces[seen] = (space, str(name))


def _custom(name: str, tool: dict[str, Any]) -> ToolSpec:
    """A tool that takes text in a form of its own: a function of one string, whose form is told in words."""
    text, form = str(tool.get("description") or ""), tool.get("format")
    if isinstance(form, dict) and form.get("definition"):
        text += f"\n\nThe input must hold to this {form.get('syntax', '')} grammar:\n{form['definition']}"
    parameters = {
        "type": "object",
        "properties": {
            INPUT: {"type": "string", "description": "the whole input, as it is, without quotes of its own"}
        },
        "required": [INPUT],
        "additionalProperties": False,
    }
    return ToolSpec(name, text.strip(), parameters)


def _missing(kind: str, target: Target | None) -> str:
    model = target.model if target else "the model"
    words = f"{kind} is a tool of the vendor's own servers, and {model} does not have it"
    if kind.startswith("web_search"):
        return f'{words}; in Codex, web_search = "disabled" in config.toml leaves it out'
    return f"{words}: leave it out of the request"
