"""Whether a page has the question itself in it: a benchmark's answer can then have been looked up instead of found."""

from __future__ import annotations

import re

WORDS = 13
"""So many words in a row are a copy and no coincidence (the window of GPT-3's own check, arXiv 2005.14165, appendix C)."""
SHORT = 6
"""A question of fewer words says nothing when it is found again."""


def copies(question: str, text: str) -> bool:
    """Whether `text` has the question in it word for word: all of it, or `WORDS` of its words in a row."""
    asked, found = _words(question), _words(text)
    if len(asked) < SHORT or not found:
        return False
    length = min(WORDS, len(asked))
    windows = {tuple(asked[at : at + length]) for at in range(len(asked) - length + 1)}
    return any(tuple(found[at : at + length]) in windows for at in range(len(found) - length + 1))


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())
