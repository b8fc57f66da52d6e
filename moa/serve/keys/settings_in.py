"""What in a part of a request is a setting of the endpoint's, and what is of the client's own making and may be called anything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_OWN = frozenset({"function", "custom", "parameters", "input_schema", "format", "input_examples", "output_schema"})
"""Of a tool of the client's."""


def settings_in(value: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The entries of an object without what a client makes up: the schemas of its own tools. One that only looks like such a tool is none:
    the vendor's subagent stays one with an `input_schema` beside it."""
    kind = value.get("type")
    own = _OWN if kind in ("function", "custom") or (kind is None and "input_schema" in value) else ("input_schema",)
    yield from ((key, each) for key, each in value.items() if key not in own)
