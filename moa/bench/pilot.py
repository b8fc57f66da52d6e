"""A pilot: pairs of with and without counsel, one after the other, until one word can be said.

It is looked at after each pair. That help is shown is therefore said by an e-value, which no number of looks makes wrong more often than
once in twenty; the chance of being wrong that is printed beside a word is the posterior one, from a uniform prior.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from agent.text.numbers import plural
from moa.bench.stats.sequential import one_sided_e_value

MOST_PAIRS = 50
LEAST_PAIRS = 10
SHOWN = 20.0
"""An e-value from here on rejects at 5 %, whenever it is looked at."""

Word = Literal["leave it off", "signal", "iteration"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """One word, whether it stands before all pairs are in, and the `chance` that it is wrong. `why` is for people.

    `iteration`: help is shown. `signal`: it helped more often than it harmed, but that may be chance: counsel where something goes wrong
    is the cheaper way to find out. `leave it off`: it did not help more often than it harmed.
    """

    word: Word
    final: bool
    chance: float
    why: str


def judge(differences: Sequence[float], most: int = MOST_PAIRS) -> Verdict:
    """The verdict after these pairs (score with counsel less score without, in their order); `most` is how many there can be."""
    helped, harmed = sum(d > 0 for d in differences), sum(d < 0 for d in differences)
    pairs = len(differences)
    helps = chance_that_it_helps(helped, harmed)
    ends = pairs >= most
    seen = f"after {plural(pairs, 'pair')} it had helped {plural(helped, 'time')} and harmed {plural(harmed, 'time')}"
    if one_sided_e_value(helped, harmed) >= SHOWN:
        return Verdict("iteration", True, 1 - helps, f"{seen}: help is shown")
    if pairs >= LEAST_PAIRS and one_sided_e_value(harmed, helped) >= SHOWN:
        return Verdict("leave it off", True, helps, f"{seen}: harm is shown")
    # Even if it helped on every pair that is left, help could not be shown any more.
    left = max(0, most - pairs)
    hopeless = one_sided_e_value(helped + left, harmed) < SHOWN
    if helped <= harmed:
        return Verdict("leave it off", ends or hopeless, helps, seen)
    return Verdict("signal", ends, 1 - helps, f"{seen}, which may be chance")


def chance_that_it_helps(helped: int, harmed: int) -> float:
    """The posterior chance that it helps more often than it harms, from a uniform prior: P(Beta(helped + 1, harmed + 1) > 1/2)."""
    pairs = helped + harmed + 1
    return sum(math.comb(pairs, k) for k in range(helped + 1)) / (1 << pairs)
