"""What a session keeps for its requests (`Session.keep`, `told`), as it is read back: somebody may have had an editor on the file.

A wrong entry is left out like any line that can't be understood, and what was kept before it holds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeGuard


def kept(name: str, data: Any) -> dict[str, Any]:
    """The data of a `kept` entry. Raises TypeError where it has not the form that its readers count on."""
    form = _FORMS.get(name)
    if not isinstance(data, dict) or (form is not None and not form(data)):
        raise TypeError(f"its data are no {name}")
    return data


def is_told(value: object) -> TypeGuard[dict[str, Any]]:
    """Whether a message's `told` has the form of `Opening.circumstances`."""
    return (
        isinstance(value, dict)
        and isinstance(value.get("date", ""), str)
        and _texts(value.get("refused", []))
        and _text_table(value.get("instructions", {}))
    )


def _texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _text_table(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(item, str) for item in value.values())


def _is_tool(value: object) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("name"), str)
        and isinstance(value.get("description"), str)
        and isinstance(value.get("parameters"), dict)
    )


def _tools(data: Mapping[str, Any]) -> bool:
    listed = data.get("list")
    return isinstance(listed, list) and all(map(_is_tool, listed))


_FORMS: Mapping[str, Callable[[Mapping[str, Any]], bool]] = {
    "tools": _tools,
    "quirks": lambda data: all(map(_texts, data.values())),
    "aliases": _text_table,
}
