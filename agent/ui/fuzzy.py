"""Fuzzy matching for every list that a user narrows by typing: commands, files, models, sessions, earlier prompts.

A query matches a text that has its characters in order. Among the ways to lay it out the best one counts: at word starts, in one
piece, in the case that was typed. Its positions are what a face highlights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple, TypeVar

Item = TypeVar("Item")

MAX_TEXT = 2_000
"""Characters of a text that are looked at; what lies behind them never matches."""

HIT = 16
WORD_START = 9
"""Behind a space, a dash, a dot; a capital after a small letter; a digit after a letter."""
SEGMENT_START = 11
"""The first character, and behind a slash."""
RUN = 7
SAME_CASE = 1
GAP_OPEN = 3
GAP_MORE = 1
NEVER = -(10**9)


class Match(NamedTuple):
    """How well a text fits (greater is better; comparable for one query only), and the indexes of the characters that matched."""

    score: int
    positions: tuple[int, ...]


def match(query: str, text: str) -> Match | None:
    """How a query matches a text; None where it does not. Words of the query, split at spaces, match each for itself, in any order.

    An empty query matches everything with a score of 0. Upper and lower case are the same, but the same case scores higher.
    """
    text = text[:MAX_TEXT]
    folded = fold(text)
    score, positions = 0, set[int]()
    for word in query.split():
        found = _match_word(word, fold(word), text, folded)
        if found is None:
            return None
        score += found.score
        positions.update(found.positions)
    return Match(score, tuple(sorted(positions)))


def rank(
    query: str, items: Iterable[Item], limit: int, *, key: Callable[[Item], str] = str
) -> list[tuple[Item, Match]]:
    """The `limit` items that match best, best first; of equals the shorter text, then the order they came in.

    `key` gives an item's text. With an empty query: the first ones, as they came.
    """
    found = [(item, hit, len(key(item))) for item in items if (hit := match(query, key(item))) is not None]
    if query.strip():
        found.sort(key=lambda entry: (-entry[1].score, entry[2]))
    return [(item, hit) for item, hit, _ in found[:limit]]


def fold(text: str) -> str:
    """The text in small letters, index by index: a letter whose small form is longer (İ) stays, so that positions hold."""
    lower = text.lower()
    if len(lower) == len(text):
        return lower
    return "".join(small if len(small := char.lower()) == 1 else char for char in text)


def _match_word(word: str, small: str, text: str, folded: str) -> Match | None:
    if not _has_in_order(small, folded):
        return None
    # best[at] is the best layout of the word so far that ends at `at`. Gaps cost the same per character, so the best
    # predecessor is carried along, and a word costs its length times its characters' occurrences, whatever the text.
    best: dict[int, int] = {}
    came_from: list[dict[int, int]] = []
    for index, char in enumerate(small):
        scores: dict[int, int] = {}
        origins: dict[int, int] = {}
        carried, carried_from = NEVER, -1
        waiting = iter(sorted(best.items()))
        nearest = next(waiting, None)
        at = folded.find(char)
        while at >= 0:
            while nearest is not None and nearest[0] < at - 1:
                if nearest[1] + nearest[0] * GAP_MORE >= carried:
                    carried, carried_from = nearest[1] + nearest[0] * GAP_MORE, nearest[0]
                nearest = next(waiting, None)
            before, origin = (0, -1) if index == 0 else (NEVER, -1)
            if carried_from >= 0:
                before, origin = carried - at * GAP_MORE - GAP_OPEN, carried_from
            if at - 1 in best and best[at - 1] + RUN >= before:
                before, origin = best[at - 1] + RUN, at - 1
            if before > NEVER:
                scores[at] = before + worth(word[index], text, at)
                origins[at] = origin
            at = folded.find(char, at + 1)
        best = scores
        came_from.append(origins)
    end = max(best, key=lambda at: (best[at], -at))
    score, positions = best[end], [end]
    for origins in reversed(came_from[1:]):
        positions.append(origins[positions[-1]])
    return Match(score, tuple(reversed(positions)))


def _has_in_order(small: str, folded: str) -> bool:
    at = -1
    for char in small:
        at = folded.find(char, at + 1)
        if at < 0:
            return False
    return True


def worth(typed: str, text: str, at: int) -> int:
    """What one matched character counts, by itself and by where it stands."""
    char = text[at]
    counts = HIT + (SAME_CASE if char == typed else 0)
    if at == 0 or text[at - 1] in "/\\":
        return counts + SEGMENT_START
    before = text[at - 1]
    if (not before.isalnum() and char.isalnum()) or (char.isupper() and before.islower()):
        return counts + WORD_START
    return counts + (WORD_START if char.isdigit() and before.isalpha() else 0)
