"""Does an answer repeat its private guidance? Small models do: the last words that they read weigh heaviest."""

from __future__ import annotations

import re

MOST_WORDS = 200
"""Longer answers are not looked at: nobody parrots for that long, and the comparison grows with the square."""
_RUN = 5
_SHARE = 0.4


def repeats(answer: str, guidance: str) -> bool:
    """True where a run of at least five words of the guidance makes up 40 % of the answer or more.

    Both are compared word by word, without case and punctuation. An answer that was advised and is given in other words, or that quotes
    a line of advice among much of its own, does not count.
    """
    said, advised = _words(answer), _words(guidance)
    if not _RUN <= len(said) <= MOST_WORDS:
        return False
    from difflib import SequenceMatcher

    match = SequenceMatcher(None, said, advised, autojunk=False).find_longest_match()
    return match.size >= _RUN and match.size >= _SHARE * len(said)


def _words(text: str) -> list[str]:
    return re.findall(r"\w+(?:[.'/-]\w+)*", text.lower())
