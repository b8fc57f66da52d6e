"""Did you mean …? The known word that an unknown one was most likely to be."""

from __future__ import annotations

from collections.abc import Iterable

LONGEST = 200
"""Characters of a word that are looked at: what is longer is no slip of the fingers, and comparing takes its time."""


def nearest(word: str, known: Iterable[str], *, cutoff: float = 0.65) -> str | None:
    """The known word that is most like this one; None where none is. `cutoff`: from 0, anything, to 1, the word itself."""
    import difflib  # most words are known

    word = word[:LONGEST]
    found = difflib.get_close_matches(word, list(known), n=9, cutoff=cutoff)
    return next((each for each in found if _slipped(word, each)), None)


def _slipped(word: str, meant: str) -> bool:
    """Whether one can be a slip of the fingers for the other, or a part of it: words that share some letters (sessions, permissions) are other words."""
    one, other = word.lower(), meant.lower()
    slip = one[:1] == other[:1] or one[1:] == other[1:] or sorted(one) == sorted(other)
    return slip or other.endswith(one) or one.endswith(other)


def did_you_mean(word: str, known: Iterable[str], otherwise: str, *, before: str = "", cutoff: float = 0.65) -> str:
    """The remedy for an unknown word: the nearest known one, with `before` in front of it, or what is to be said where none is near."""
    near = nearest(word, known, cutoff=cutoff)
    return otherwise if near is None else f"did you mean {before}{near}?"
