"""Events, views and messages as plain JSON values, and messages back from them."""

from __future__ import annotations

import dataclasses
import json
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.llm.messages import Message
from agent.text.cleaning import STEERING, harmless_value

if TYPE_CHECKING:
    from pydantic import TypeAdapter


_UNSAFE = re.compile(rf"{STEERING}|[\u2028\u2029]")


def to_plain(value: Any) -> Any:
    """A value made of dataclasses, models, tuples and dicts as what `json.dumps` takes."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: to_plain(getattr(value, field.name))
            for field in dataclasses.fields(value)
            if "private" not in field.metadata
        }
    if isinstance(value, dict):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [to_plain(item) for item in value]
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if isinstance(value, Path):
        return str(value)
    return value


def dumps(value: Any, *, raw: bool = False, indent: int | None = None) -> str:
    """JSON, on one line without `indent`, in whose texts nothing is left that steers a terminal. `raw`: it is left, written as JSON's escapes.

    It is one line for all: what Unicode, but not JSON, has for a line's end is written as an escape.
    """
    plain = to_plain(value) if raw else harmless_value(to_plain(value))
    text = json.dumps(plain, ensure_ascii=False, indent=indent)
    return text if text.isprintable() else _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def read_message(data: Any) -> Message:
    """A message from plain JSON. Raises ValueError where it is none."""
    return _messages().validate_python(data)


@cache
def _messages() -> TypeAdapter[Message]:
    from pydantic import TypeAdapter

    return TypeAdapter(Message)
