"""Score intervals for proportions: one arm alone (Wilson), and the difference of two paired arms (Tango, Newcombe).

Both paired intervals take the four cells' two discordant counts and the number of pairs. They hold their level where the Wald interval
does not: with few pairs, with few discordant ones, and at the ends.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist
from typing import NamedTuple

_STEPS = 60
"""Halvings of an interval of length 2: enough for the last digit of a float."""


class Interval(NamedTuple):
    """From `lo` to `hi`, both included."""

    lo: float
    hi: float

    def __contains__(self, value: object) -> bool:
        return isinstance(value, int | float) and self.lo <= value <= self.hi


def z_of(level: float) -> float:
    """The normal quantile of a two-sided interval. Raises ValueError unless 0 < `level` < 1."""
    if not 0 < level < 1:
        raise ValueError(f"a level is between 0 and 1, not {level}")
    return NormalDist().inv_cdf(0.5 + level / 2)


def wilson(successes: int, trials: int, level: float = 0.95) -> Interval:
    """Wilson's score interval of one proportion (JASA 1927). Without trials nothing is known: 0 to 1."""
    if not 0 <= successes <= trials:
        raise ValueError(f"{successes} of {trials} is not a proportion")
    if not trials:
        return Interval(0.0, 1.0)
    z2, share = z_of(level) ** 2, successes / trials
    middle = share + z2 / (2 * trials)
    half = math.sqrt(z2 * (share * (1 - share) + z2 / (4 * trials)) / trials)
    whole = 1 + z2 / trials
    lo = 0.0 if successes == 0 else (middle - half) / whole
    hi = 1.0 if successes == trials else (middle + half) / whole
    return Interval(lo, hi)


def tango(helped: int, harmed: int, pairs: int, level: float = 0.95) -> Interval:
    """Tango's score interval of the difference (helped - harmed) / pairs (Statistics in Medicine 17, 1998, 891-908)."""
    _check(helped, harmed, pairs)
    if not pairs:
        return Interval(-1.0, 1.0)
    z, found = z_of(level), (helped - harmed) / pairs

    def score(delta: float) -> float:
        return _tango_score(helped, harmed, pairs, delta)

    # The score falls with the difference that is assumed: +z at the lower end, -z at the upper.
    lo = -1.0 if harmed == pairs else _falling_root(score, z, -1.0, found)
    hi = 1.0 if helped == pairs else _falling_root(score, -z, found, 1.0)
    return Interval(lo, hi)


def newcombe(helped: int, harmed: int, right_right: int, wrong_wrong: int, level: float = 0.95) -> Interval:
    """Newcombe's interval of the difference (his method 10, Statistics in Medicine 17, 1998, 2635-2650).

    It squares and adds the Wilson intervals of both arms, with a correction for how alike they answer, so it needs all four cells.
    """
    pairs = helped + harmed + right_right + wrong_wrong
    _check(helped, harmed, pairs)
    if not pairs or min(right_right, wrong_wrong) < 0:
        if pairs:
            raise ValueError("counts of pairs can't be negative")
        return Interval(-1.0, 1.0)
    ours, theirs = right_right + helped, right_right + harmed
    one, two = wilson(ours, pairs, level), wilson(theirs, pairs, level)
    share, other = ours / pairs, theirs / pairs
    phi = _phi(right_right, helped, harmed, wrong_wrong)
    below, above, other_below, other_above = share - one.lo, one.hi - share, other - two.lo, two.hi - other
    lo = math.sqrt(max(0.0, below**2 - 2 * phi * below * other_above + other_above**2))
    hi = math.sqrt(max(0.0, above**2 - 2 * phi * above * other_below + other_below**2))
    return Interval(max(-1.0, share - other - lo), min(1.0, share - other + hi))


def _check(helped: int, harmed: int, pairs: int) -> None:
    if min(helped, harmed) < 0 or helped + harmed > pairs:
        raise ValueError(f"{helped} helped and {harmed} harmed of {pairs} pairs do not fit")


def _tango_score(helped: int, harmed: int, pairs: int, delta: float) -> float:
    """(b - c - n·delta) over its deviation, with the discordant share as likely as it can be under `delta`."""
    a = 2 * pairs
    b = -helped - harmed + (2 * pairs - helped + harmed) * delta
    c = -harmed * delta * (1 - delta)
    nuisance = (math.sqrt(max(0.0, b * b - 4 * a * c)) - b) / (2 * a)
    variance = pairs * (2 * nuisance + delta * (1 - delta))
    surplus = helped - harmed - pairs * delta
    if variance <= 0:
        return math.copysign(math.inf, surplus) if surplus else 0.0
    return surplus / math.sqrt(variance)


def _falling_root(function: Callable[[float], float], target: float, lo: float, hi: float) -> float:
    for _step in range(_STEPS):
        middle = (lo + hi) / 2
        if function(middle) > target:
            lo = middle
        else:
            hi = middle
    return (lo + hi) / 2


def _phi(both: int, first: int, second: int, neither: int) -> float:
    """How alike two arms answer, with Newcombe's correction for continuity where they answer alike."""
    sizes = (both + first) * (second + neither) * (both + second) * (first + neither)
    if not sizes:
        return 0.0
    surplus: float = both * neither - first * second
    if surplus > 0:
        surplus = max(0.0, surplus - (both + first + second + neither) / 2)
    return surplus / math.sqrt(sizes)
