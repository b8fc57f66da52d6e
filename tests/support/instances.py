"""The smallest instance of a JSON schema: what a scripted model answers where a schema is asked for and the script has no better."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def minimal(schema: Mapping[str, Any], root: Mapping[str, Any] | None = None) -> Any:
    """A valid instance, as small as the schema lets it be. Covers what structured output uses: objects, arrays, enums, const,
    the first branch of anyOf/oneOf/allOf, `$ref` into the same document, lengths and ranges."""
    root = schema if root is None else root
    if "$ref" in schema:
        return minimal(resolve(schema["$ref"], root), root)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    for branch in ("anyOf", "oneOf", "allOf"):
        if branch in schema:
            return minimal(schema[branch][0], root)
    kind = schema.get("type", "object" if "properties" in schema else "string")
    if isinstance(kind, list):
        kind = kind[0]
    if kind == "object":
        properties = schema.get("properties", {})
        return {name: minimal(properties.get(name, {}), root) for name in schema.get("required", ())}
    if kind == "array":
        return [minimal(schema.get("items", {}), root) for _ in range(schema.get("minItems", 0))]
    if kind == "string":
        return "-" * max(1, schema.get("minLength", 0))
    if kind in ("integer", "number"):
        return schema.get("minimum", 0)
    return False if kind == "boolean" else None


def resolve(pointer: str, root: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a local `$ref` (`#/$defs/Name`) points at. Raises KeyError."""
    found: Any = root
    for step in pointer.removeprefix("#/").split("/"):
        found = found[step]
    return found
