"""Numbers: read from what somebody typed or sent, within bounds; written for people, in one form everywhere."""

from __future__ import annotations

import math

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


def count(number: int) -> str:
    """A number of tokens: `812`, `12.3k`, `1.2M`."""
    if number < 1000:
        return str(number)
    if number < 999_500:
        return f"{number / 1e3:.1f}k" if number < 99_950 else f"{number / 1e3:.0f}k"
    return f"{number / 1e6:.1f}M"


def span(seconds: object, *, exact: bool = False) -> str:
    """A time: `8 s` (`8.2 s` where exact), `3:05` from two minutes on; `?` for what is none."""
    if not isinstance(seconds, int | float) or not math.isfinite(seconds):
        return "?"
    if seconds >= 120:
        return f"{int(seconds) // 60}:{int(seconds) % 60:02}"
    return f"{seconds:.1f} s" if exact else f"{int(seconds)} s"
