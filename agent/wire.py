"""Events, views and messages as plain JSON values, and messages back from them."""

from __future__ import annotations

import dataclasses
import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.llm.messages import Message

if TYPE_CHECKING:
    from pydantic import TypeAdapter


def to_plain(value: Any) -> Any:
    """A value made of dataclasses, models, tuples and dicts as what `json.dumps` takes."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [to_plain(item) for item in value]
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if isinstance(value, Path):
        return str(value)
    return value


def dumps(value: Any) -> str:
    """One line of JSON."""
    return json.dumps(to_plain(value), ensure_ascii=False)


def read_message(data: Any) -> Message:
    """A message from plain JSON. Raises ValueError where it is none."""
    return _messages().validate_python(data)


@cache
def _messages() -> TypeAdapter[Message]:
    from pydantic import TypeAdapter

    return TypeAdapter(Message)
