"""What in a request is a setting of the endpoint's, and what is of the client's own making and may be called anything: the schemas of its own
tools and of the answer that it wants. They are known by the place where the wire has them, and nothing else is passed over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_FLAT: Mapping[Any, tuple[str, ...]] = {"function": ("parameters", "output_schema"), "custom": ("format",)}
_NAMED: Mapping[Any, tuple[str, ...]] = {None: ("input_schema", "input_examples"), "custom": ("input_schema", "input_examples")}  # fmt: skip
"""The own parts of a client's tool, by its type: on the Responses and on the Messages wire."""
_ANSWERS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "chat": (("response_format", "json_schema", "schema"),),
    "responses": (("text", "format", "schema"),),
    "messages": (("output_config", "format", "schema"), ("output_format", "schema")),
}


def settings_in(wire: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """The body without those schemas."""
    found = dict(body)
    for path in _ANSWERS[wire]:
        found = _without(found, path)
    found["tools"] = _each(body.get("tools"), lambda tool: _tool(wire, tool))
    if wire == "chat":
        found["functions"] = _each(body.get("functions"), lambda function: _without(function, ("parameters",)))
    return found


def _tool(wire: str, tool: Mapping[str, Any]) -> dict[str, Any]:
    kind = tool.get("type")
    if not (kind is None or isinstance(kind, str)):
        return dict(tool)
    if wire == "responses" and kind == "namespace":
        return {**tool, "tools": _each(tool.get("tools"), lambda inner: _tool(wire, inner))}
    if wire == "chat":
        own = {"function": ("function", "parameters"), "custom": ("custom", "format")}.get(kind or "")
        return dict(tool) if own is None else _without(tool, own)
    found = dict(tool)
    for name in (_FLAT if wire == "responses" else _NAMED).get(kind, ()):
        found = _without(found, (name,))
    return found


def _each(value: Any, made: Any) -> Any:
    return [made(each) if isinstance(each, dict) else each for each in value] if isinstance(value, list) else value


def _without(value: Mapping[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    """The object without what is at a path in it."""
    name, rest = path[0], path[1:]
    if not rest:
        return {key: each for key, each in value.items() if key != name}
    inner = value.get(name)
    return {**value, name: _without(inner, rest)} if isinstance(inner, dict) else dict(value)
