"""Did you mean …? The known word that an unknown one was most likely to be."""

from __future__ import annotations

from collections.abc import Iterable

LONGEST = 200
"""Characters of a word that are looked at: what is longer is no slip of the fingers, and comparing takes its time."""


def nearest(word: str, known: Iterable[str], *, cutoff: float = 0.65) -> str | None:
    """The known word that is most like this one; None where none is. `cutoff`: from 0, anything, to 1, the word itself."""
    import difflib  # most words are known

    return next(iter(difflib.get_close_matches(word[:LONGEST], list(known), n=1, cutoff=cutoff)), None)


def did_you_mean(word: str, known: Iterable[str], otherwise: str, *, before: str = "", cutoff: float = 0.65) -> str:
    """The remedy for an unknown word: the nearest known one, with `before` in front of it, or what is to be said where none is near."""
    near = nearest(word, known, cutoff=cutoff)
    return otherwise if near is None else f"did you mean {before}{near}?"
