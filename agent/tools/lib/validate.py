"""A model's arguments, checked against the tool's schema: tolerant of how models err, exact about what is wrong."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from agent.llm.request import ToolSpec
from agent.text import foreign_json
from agent.text.encodable import whole
from agent.text.nearest import nearest
from agent.tools.base import ToolError

Schema = Mapping[str, Any]

NAMES = {
    "string": "a string",
    "integer": "an integer",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}


def validate(text: str, spec: ToolSpec) -> dict[str, Any]:
    """The arguments of a call, ready for `Tool.run`.

    Taken as meant: nothing at all for no arguments, a code fence, JSON inside a JSON string, Python's way to write a dict, something
    behind the object; a number or a boolean as a string, one item instead of a list, null for "not given". Text that was cut off is
    *not* completed, since half a file would be written. Raises ToolError that names every argument at fault and what was expected.
    """
    arguments = _load(spec, text)
    problems: list[str] = []
    checked = _object(spec.parameters, arguments, "", problems)
    if problems:
        raise ToolError(f"{spec.name}: {'; '.join(problems)}. Expected: {_signature(spec.parameters)}")
    for name, most in LONGEST.items():
        if isinstance(value := checked.get(name), str) and len(value) > most:
            raise ToolError(f"{spec.name}: {name} has {len(value):,} characters; {most:,} is the limit of the system")
    return checked


LONGEST = {"path": 4_096, "command": 131_000, "pattern": 32_000}
"""Characters. What is longer fails in any case, and to look at it first would take a while."""


def _load(spec: ToolSpec, text: str) -> dict[str, Any]:
    stripped = text.strip()
    if len(stripped) >= 6 and stripped.startswith("```") and stripped.endswith("```"):
        stripped = stripped[3:-3].removeprefix("json").strip()
    if not stripped:
        return {}
    try:
        value, _ = foreign_json.decode_at(stripped, strict=False, tolerant=False)
        if isinstance(value, str) and value.lstrip().startswith("{"):
            value, _ = foreign_json.decode_at(value.lstrip(), strict=False, tolerant=False)
    except foreign_json.ForeignJsonError as error:
        value = _python_literal(stripped)
        if value is None:
            raise ToolError(f"{spec.name}: the arguments are no valid JSON: {_where(error, stripped)}") from error
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ToolError(
            f"{spec.name}: the arguments must be a JSON object, not {_kind(value)}. Expected: {_signature(spec.parameters)}"
        )
    return value


def _python_literal(text: str) -> object:
    """`{'path': 'a', 'all': True}`; None where it is not that."""
    if not text.startswith("{") or len(text) > 100_000:
        return None
    import ast

    try:
        value = ast.literal_eval(text)
        json.dumps(value)
        if not foreign_json.within_bounds(value):
            return None
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return None
    return value if isinstance(value, dict) and all(isinstance(key, str) for key in value) else None


def _where(error: foreign_json.ForeignJsonError, text: str) -> str:
    if isinstance(error, foreign_json.BeyondBounds):
        return str(error)
    if error.pos >= len(text) - 1 or error.msg.startswith("Unterminated"):
        return "they were cut off before their end; send the whole call again, with less in it if it is long"
    near = text[max(0, error.pos - 20) : error.pos + 20]
    return f"{error.msg} at character {error.pos}, near {near!r}"


# A foreign server's schema may say anything. What says nothing here (true, a type that is a number) asks for nothing; it never fails.


def _schema(value: Any) -> Schema:
    return value if isinstance(value, Mapping) else {}


def _properties(schema: Schema) -> Mapping[str, Schema]:
    return {name: _schema(one) for name, one in _schema(schema.get("properties")).items()}


def _required(schema: Schema) -> list[str]:
    names = schema.get("required")
    return [name for name in names if isinstance(name, str)] if isinstance(names, list | tuple) else []


def _types(schema: Schema) -> list[str]:
    types = schema.get("type")
    return [kind for kind in (types if isinstance(types, list | tuple) else [types]) if isinstance(kind, str)]


def _choices(schema: Schema) -> list[Schema]:
    return next(
        (
            list(map(_schema, found))
            for key in ("anyOf", "oneOf")
            if isinstance(found := schema.get(key), list) and found
        ),
        [],
    )


def _number(value: Any) -> int | float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _object(schema: Schema, value: dict[str, Any], where: str, problems: list[str]) -> dict[str, Any]:
    properties, required = _properties(schema), _required(schema)
    checked: dict[str, Any] = {}
    for name, item in value.items():
        label = f"{where}{name}"
        if name in properties:
            if item is None and name not in required and not _takes(properties[name], "null"):
                continue
            checked[name] = _value(properties[name], item, label, problems)
        elif schema.get("additionalProperties") is False:
            if item is not None:
                problems.append(f'there is no argument "{label}"{_meant(name, properties, value)}')
        else:
            checked[name] = item
    for name in required:
        if name not in value:
            kind = _expected(properties.get(name, {}))
            problems.append(f'the argument "{where}{name}" is missing ({kind})')
    return checked


def _value(schema: Schema, value: Any, label: str, problems: list[str]) -> Any:
    if choices := _choices(schema):
        return _any(choices, value, label, problems)
    if isinstance(value, str):
        value = whole(value)
    if isinstance(values := schema.get("enum"), list) and value not in values:
        same = [one for one in values if isinstance(one, str) and one.lower() == str(value).strip().lower()]
        if not same:
            problems.append(f'the argument "{label}" must be one of {json.dumps(values)}, not {_short(value)}')
            return value
        return same[0]
    if wanted := _types(schema):
        fitting, value = _coerce(wanted, value)
        if not fitting:
            problems.append(f'the argument "{label}" must be {_expected(schema)}, not {_short(value)}')
            return value
    _bounds(schema, value, label, problems)
    if isinstance(value, dict):
        return _object(schema, value, f"{label}.", problems)
    if isinstance(value, list) and (items := _schema(schema.get("items"))):
        return [_value(items, item, f"{label}[{at}]", problems) for at, item in enumerate(value)]
    return value


def _any(choices: list[Schema], value: Any, label: str, problems: list[str]) -> Any:
    for choice in choices:
        trial: list[str] = []
        checked = _value(choice, value, label, trial)
        if not trial:
            return checked
    kinds = " or ".join(_expected(choice) for choice in choices)
    problems.append(f'the argument "{label}" must be {kinds}, not {_short(value)}')
    return value


def _coerce(wanted: list[str], value: Any) -> tuple[bool, Any]:
    """Whether a value is of one of the types, and the value, mended where it is clear what was meant."""
    if any(_is(kind, value) for kind in wanted):
        return True, value
    for kind in wanted:
        if kind == "integer" and isinstance(value, float) and value.is_integer():
            return True, int(value)
        if kind == "string" and isinstance(value, int | float) and not isinstance(value, bool):
            return True, json.dumps(value)
        if kind == "array" and isinstance(value, int | float) and not isinstance(value, bool):
            return True, [value]
        if isinstance(value, str) and kind != "string":
            text = value.strip()
            try:
                meant = foreign_json.loads(text.lower() if kind == "boolean" else text)
            except ValueError:
                meant = None
            if kind == "integer" and isinstance(meant, float) and meant.is_integer():
                meant = int(meant)
            if meant is not None and _is(kind, meant):
                return True, meant
            if kind == "array":
                return True, [value]
    return False, value


def _is(kind: str, value: Any) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    match kind:
        case "string":
            return isinstance(value, str)
        case "integer":
            return isinstance(value, int)
        case "number":
            return isinstance(value, int | float)
        case "array":
            return isinstance(value, list)
        case "object":
            return isinstance(value, dict)
        case "null":
            return value is None
    return False


def _bounds(schema: Schema, value: Any, label: str, problems: list[str]) -> None:
    if isinstance(value, int | float) and not isinstance(value, bool):
        if (least := _number(schema.get("minimum"))) is not None and value < least:
            problems.append(f'the argument "{label}" must be at least {least}, not {value}')
        if (most := _number(schema.get("maximum"))) is not None and value > most:
            problems.append(f'the argument "{label}" must be at most {most}, not {value}')
    if isinstance(value, str) and len(value) < (shortest := _number(schema.get("minLength")) or 0):
        problems.append(f'the argument "{label}" must not be {"empty" if not value else f"shorter than {shortest}"}')


def _takes(schema: Schema, kind: str) -> bool:
    if types := _types(schema):
        return kind in types
    return any(_takes(choice, kind) for choice in _choices(schema))


def _meant(name: str, properties: Mapping[str, Schema], given: Mapping[str, Any]) -> str:
    free = [known for known in properties if known not in given]
    parts = [known for known in free if known in name.lower().split("_")]
    near = parts[0] if parts else nearest(name.lower(), free)
    return f' (did you mean "{near}"?)' if near else ""


def _expected(schema: Schema) -> str:
    return " or ".join(NAMES.get(kind, kind) for kind in _types(schema)) or "a value"


def _signature(schema: Schema) -> str:
    properties, required = _properties(schema), _required(schema)
    if not properties:
        return "no arguments"
    return ", ".join(
        f"{name} ({_expected(one)}{'' if name in required else ', optional'})" for name, one in properties.items()
    )


def _kind(value: Any) -> str:
    return next((words for kind, words in NAMES.items() if _is(kind, value)), type(value).__name__)


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "…"
