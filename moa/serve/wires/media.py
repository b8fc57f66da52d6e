"""What in a body costs otherwise than by its length: pictures, files, and what the endpoint adds to the request by itself.

Only what stands in a part that is for it, and is what it says, counts so. The same letters in a text are text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from agent.text.images import media_type_of
from moa.serve.keys import stored

_PLACES = {"chat": ("messages", ("content",)), "messages": ("messages", ("content",)), "responses": ("input", ("content", "output"))}  # fmt: skip
_PICTURES = frozenset({"image_url", "input_image", "computer_screenshot", "image"})
_FILES = frozenset({"file", "input_file", "document", "video_url", "input_video"})
_TEXTS = frozenset({"text", "input_text", "output_text"})
_ADDRESSES = frozenset({"image_url", "file", "file_url", "file_data", "video_url", "audio_url"})
_DETAILS = (None, "low", "high", "auto")
"""How closely a picture is looked at, where one costs no more than those we know."""


@dataclass(slots=True)
class Media:
    """`pictures` is how many there are, `letters` how long they are together where they stand in the body itself. `unbounded`: the endpoint
    reads something of which nobody here knows how long it is, so only the model's window bounds it."""

    pictures: int = 0
    letters: int = 0
    unbounded: bool = False


def media_in(wire: str, body: Mapping[str, Any]) -> Media:
    """What there is in a client's body."""
    found = Media(unbounded=bool(body.get("previous_response_id") or stored.items(body)))
    for part in _parts(wire, body):
        kind = str(part.get("type"))
        if kind in _PICTURES:
            _picture(part, found)
        elif kind in _FILES:
            # A page's picture costs more than the few bytes it may have, and a packed text is longer than it looks.
            found.unbounded = found.unbounded or not _is_text(part)
        elif kind in _TEXTS:
            continue
        elif _ADDRESSES & part.keys():  # some endpoints know a part by that, and not by its type
            found.unbounded = True
    return found


def _parts(wire: str, body: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    name, places = _PLACES[wire]
    items = body.get(name)
    for item in items if isinstance(items, list) else ():
        if not isinstance(item, dict):
            continue
        for place in places:
            yield from _inner(item.get(place))


def _inner(value: Any) -> Iterator[Mapping[str, Any]]:
    """Parts, and those in results of tools and in documents that have them."""
    for part in value if isinstance(value, list) else (value,):
        if isinstance(part, dict):
            yield part
            if part.get("type") == "tool_result":
                yield from _inner(part.get("content"))
            elif part.get("type") == "document" and isinstance(source := part.get("source"), dict):
                yield from _inner(source.get("content"))


def _picture(part: Mapping[str, Any], found: Media) -> None:
    place = part.get("image_url") if part.get("type") != "image" else part.get("source")
    given = place if isinstance(place, dict) else {"url": place}
    if part.get("detail", given.get("detail")) not in _DETAILS:
        found.unbounded = True
    data = given.get("data") if given.get("type") == "base64" else None
    url = given.get("url")
    if isinstance(url, str) and url[:5].lower() == "data:":
        head, _comma, data = url.partition(",")
        if not head.lower().endswith(";base64"):
            data = None
    if isinstance(data, str):
        if media_type_of(data) is None:  # some read any file here
            found.unbounded = True
            return
        found.letters += len(data)
    elif not (isinstance(url, str) and url[:4].lower() == "http"):
        found.unbounded = True
        return
    found.pictures += 1


def _is_text(document: Mapping[str, Any]) -> bool:
    """Whether a document's words stand in it (Messages), and it is no file."""
    source = document.get("source")
    return isinstance(source, dict) and source.get("type") in ("text", "content")
