"""Whole numbers that somebody typed or sent, bounded where they are read."""

from __future__ import annotations

MOST = 10**9


def whole_number(text: str, most: int = MOST) -> int | None:
    """The number that plain digits write, from 0 to `most`; None for anything else. Python's `int` raises at some thousand digits."""
    if not (text.isascii() and text.isdigit()) or len(text) > 18:
        return None
    number = int(text)
    return number if number <= most else None
