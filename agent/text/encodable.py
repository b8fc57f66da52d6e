"""Text that every encoder takes: no halves of characters."""

from __future__ import annotations

from typing import Any


def whole(text: str) -> str:
    """The text without lone surrogates, which have no UTF-8 form: two halves that belong together are joined, others become U+FFFD.

    They come from JSON that was cut in the middle of a `\\ud83d\\ude00`, and from arguments and files that are no UTF-8.
    """
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def whole_value(value: Any) -> Any:
    """The same for every string of a plain JSON value."""
    if isinstance(value, str):
        return whole(value)
    if isinstance(value, dict):
        return {whole(key) if isinstance(key, str) else key: whole_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [whole_value(item) for item in value]
    return value
