"""Whole numbers: read from what somebody typed or sent, within bounds; written before a noun."""

from __future__ import annotations

MOST = 10**9


def whole_number(text: str, most: int = MOST) -> int | None:
    """The number that plain digits write, from 0 to `most`; None for anything else. Python's `int` raises at some thousand digits."""
    if not (text.isascii() and text.isdigit()) or len(text) > 18:
        return None
    number = int(text)
    return number if number <= most else None


def plural(number: int, word: str, words: str | None = None) -> str:
    """A number and its noun: `1 call`, `1,200 calls`. `words` is the noun for several, where that is not `word` with an s."""
    return f"{number:,} {word if number == 1 else words or word + 's'}"
