"""Reading what endpoints send: tolerant JSON, and values of which nothing is taken for granted. Refusals are read in refusal.py."""

from __future__ import annotations

from typing import Any

from agent.text import foreign_json
from agent.text.encodable import whole

MOST_VALUES = 5_000_000
"""Of one answer. Thirty thousand tokens have so many, with their twenty likeliest neighbours and the bytes of each."""
_READ_AGAIN = 2**23
"""Characters that are read in vain before a text counts as having no object: padding is short, and an endpoint whose answer is long and broken
must not hold up everybody for each `{` in it."""


def as_dict(value: object) -> dict[str, Any]:
    """The value if it is a JSON object, else an empty one."""
    return value if isinstance(value, dict) else {}


def as_list(value: object) -> list[Any]:
    """The value if it is a JSON array, else an empty one."""
    return value if isinstance(value, list) else []


def as_str(value: object) -> str:
    """The value if it is a string, else an empty one."""
    return value if isinstance(value, str) else ""


def as_name(value: object) -> str:
    """The value if it is a string, without halves of characters: an id or a name goes into files and tables."""
    return whole(as_str(value))


def first_object(text: str) -> dict[str, Any] | None:
    """The first JSON object in a text that may have padding, comments or a `[DONE]` around it; None where there is none, or more in it than
    any answer has."""
    if text.count(",") + text.count("[") + text.count("{") > MOST_VALUES:
        return None
    start, left = text.find("{"), _READ_AGAIN
    for _attempt in range(16):
        if start < 0:
            return None
        try:
            return as_dict(_value_at(text, start))
        except ValueError:
            left -= len(text) - start
            if left < 0:
                return None
            start = text.find("{", start + 1)
    return None


def _value_at(text: str, start: int) -> Any:
    try:
        return foreign_json.decode_at(text, start)[0]
    except foreign_json.BeyondBounds:
        return foreign_json.kept(text, start)


def cut_object(text: str) -> dict[str, Any] | None:
    """What there is of the first JSON object of a text that broke off in it; None where nothing can be made of it."""
    start = text.find("{")
    if start < 0:
        return None
    from pydantic_core import from_json  # for broken answers alone

    try:
        value = from_json(text[start:].encode("utf-8", "replace"), allow_partial="trailing-strings")
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and foreign_json.within_bounds(value) else None
