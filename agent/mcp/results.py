"""What a foreign tool brings, as text for the model: every kind of content, cleaned and cut, the whole in a file."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from agent.process.output import Output

NOTHING = "(nothing came back)"


def rendered(content: Iterable[Any], structured: Any, file: Path) -> tuple[str, Path | None]:
    """The text of a result for the model, and the file that has the whole where it did not fit. `file` is where that would be."""
    output = Output(file)
    try:
        empty = True
        for text in _texts(content, structured):
            output.feed(("" if empty else "\n\n").encode() + text.encode("utf-8", "replace"))
            empty = False
    finally:
        output.close()
    return (NOTHING if empty else output.render()), (output.path if output.in_file else None)


def _texts(content: Iterable[Any], structured: Any) -> Iterator[str]:
    told = False
    for block in content:
        told = True
        yield _text(block)
    if structured is not None and not told:
        yield json.dumps(structured, ensure_ascii=False, indent=1)


def _text(block: Any) -> str:
    kind = getattr(block, "type", "")
    if kind == "text":
        return str(block.text)
    if kind in ("image", "audio"):
        return f"({kind}: {block.mime_type}, {_size(block.data):,} bytes; it can't be shown here)"
    if kind == "resource_link":
        return f"(a resource: {block.name} at {block.uri})"
    if kind == "resource":
        resource = block.resource
        text = getattr(resource, "text", None)
        if text is not None:
            return f"(the resource {resource.uri})\n{text}"
        return f"(the resource {resource.uri}: {resource.mime_type or 'binary'}, {_size(resource.blob):,} bytes)"
    return f"({kind or 'something'} that can't be shown here)"


def _size(data: str) -> int:
    try:
        return len(base64.b64decode(data, validate=True))
    except (binascii.Error, ValueError):
        return len(data)
