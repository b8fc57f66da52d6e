"""What a request refers to that the endpoint keeps: files, containers, conversations, replies.

All keys of a team go out under the one account that the server has upstream, and an id there opens for whoever names it. So a key of a team
may refer to what this server gave it: a response (`previous_response_id`), an item of one. For the rest nobody here knows whose it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from agent.llm.errors import AuthError
from moa.serve.keys.settings_in import settings_in

_IDS = frozenset({"file_id", "file_ids", "vector_store_id", "vector_store_ids", "skill_id", "container_id"})
_OBJECTS = frozenset({"container", "conversation", "prompt", "audio"})
"""Names of what has an id of its own there: an object with it, or the id itself."""
_FILES = frozenset({"input_file", "input_image", "file", "document", "image", "container_upload"})
_SUBSTANCE = {"reasoning": ("encrypted_content", "summary", "content"), "image_generation_call": ("result",)}
"""What an item of a reply has in it, some of it at least, where it does not stand for one that is kept."""


def check(wire: str, body: Mapping[str, Any], name: str) -> None:
    """Raise AuthError (403) where the request refers to what the endpoint keeps. `name` is the key's."""
    for place in _in_settings(settings_in(wire, body)):
        raise AuthError(
            f"{place} names what the endpoint keeps, and all keys share one account there: that is not for the key {name!r}",
            status=403,
            remedy="send the content itself; the server's own key may refer to what is kept",
        )


def items(body: Mapping[str, Any]) -> list[str]:
    """The ids of items that stand for ones which the endpoint keeps (Responses)."""
    given = body.get("input")
    return [
        item["id"]
        for item in (given if isinstance(given, list) else ())
        if isinstance(item, dict) and isinstance(item.get("id"), str) and item["id"] and _stands_for_another(item)
    ]


def _stands_for_another(item: Mapping[str, Any]) -> bool:
    kind = item.get("type")
    if kind in (None, "item_reference"):
        return "role" not in item or "content" not in item
    return isinstance(kind, str) and kind in _SUBSTANCE and not any(item.get(key) for key in _SUBSTANCE[kind])


def _in_settings(body: Mapping[str, Any]) -> Iterator[str]:
    for key, value in body.items():
        if key in ("messages", "input"):
            for at, item in enumerate(value if isinstance(value, list) else ()):
                if isinstance(item, dict):
                    yield from _in_item(item, f"{key}[{at}]")
        elif key not in ("metadata", "text", "response_format", "audio"):  # that one is how a reply is to sound
            yield from _within(key, value, key)


def _in_item(item: Mapping[str, Any], place: str) -> Iterator[str]:
    # What a reply had in it is history: its citations open nothing. Only what was said aloud is kept.
    if item.get("role") == "assistant":
        yield from _within("audio", item.get("audio"), f"{place}.audio")
        content = item.get("content")
        for at, part in enumerate(content if isinstance(content, list) else ()):
            if isinstance(part, dict) and str(part.get("type")) in _FILES:
                yield from _within("", part, f"{place}.content[{at}]")
    elif not str(item.get("type") or "").endswith("_call"):
        for key in ("content", "output"):
            yield from _within(key, item.get(key), f"{place}.{key}")


def _within(name: str, value: Any, place: str) -> Iterator[str]:
    if (name in _IDS and value) or (name in _OBJECTS and _id_of(name, value)):
        yield place
    elif isinstance(value, list):
        for at, each in enumerate(value):
            yield from _within("", each, f"{place}[{at}]")
    elif isinstance(value, dict):
        for key, each in value.items():
            if key != "skill_id" or value.get("type") != "anthropic":  # that is the vendor's, and everybody's
                yield from _within(key, each, f"{place}.{key}")


def _id_of(name: str, value: Any) -> Any:
    if isinstance(value, dict):
        return value.get("id")
    return value if isinstance(value, str) and name != "prompt" else None
