"""A plain majority of short answers, and when it stands before all have answered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Count:
    """How often each answer was given, most often first, and `leaders`: those that were given most often (two or more: a tie)."""

    ranked: tuple[tuple[str, int], ...]
    leaders: tuple[str, ...]

    @property
    def top(self) -> int:
        """How often the most frequent answer was given."""
        return self.ranked[0][1] if self.ranked else 0


def count(votes: Sequence[str | None]) -> Count:
    """Count votes; None abstains. Among equals the order is that of the votes."""
    ranked = tuple(Counter(vote for vote in votes if vote is not None).most_common())
    return Count(ranked, tuple(vote for vote, number in ranked if number == ranked[0][1]))


def winner(votes: Sequence[str | None], *, lot: str | None = None) -> str | None:
    """The most frequent vote. None: nobody voted.

    A tie is drawn by `lot` (the same for the same text and votes, whoever sits where); without one it goes to whoever votes first, so that
    the order of `votes` has to be one of trust.
    """
    leaders = count(votes).leaders
    if lot is None or len(leaders) < 2:
        return leaders[0] if leaders else None
    from random import Random

    return Random(lot).choice(sorted(leaders))


def expected(votes: Sequence[str | None], truth: str) -> float:
    """How often the winner is right if ties are drawn by lot: 1, 0, or the truth's share of the leaders."""
    leaders = count(votes).leaders
    return (truth in leaders) / len(leaders) if leaders else 0.0


def decided(votes: Sequence[str | None], outstanding: int) -> bool:
    """Whether the outstanding votes can't change the winner, whatever they are: not even a tie is in reach."""
    ranked = count(votes).ranked
    if not ranked:
        return False
    second = ranked[1][1] if len(ranked) > 1 else 0
    return ranked[0][1] > second + outstanding


def asked_until_decided(votes: Sequence[str | None]) -> int:
    """How many of the votes, taken in this order, had to come in before the winner stood."""
    return next((n for n in range(1, len(votes)) if decided(votes[:n], len(votes) - n)), len(votes))
