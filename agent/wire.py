"""Events, views and messages as plain JSON values, and the schema of the event stream."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel


def to_plain(value: Any) -> Any:
    """A value made of dataclasses, models, tuples and dicts as what `json.dumps` takes."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [to_plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    return value


def dumps(value: Any) -> str:
    """One line of JSON."""
    return json.dumps(to_plain(value), ensure_ascii=False)


def event_schema() -> dict[str, Any]:
    """The JSON schema of `stream-json`, made from the event classes."""
    from pydantic import TypeAdapter

    from agent.events import AgentEvent

    schema: dict[str, Any] = TypeAdapter(AgentEvent).json_schema()
    return schema
