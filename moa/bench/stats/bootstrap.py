"""The paired bootstrap, for graded scores: how far the mean difference of two arms can be from what was seen."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from statistics import NormalDist, fmean

from moa.bench.stats.intervals import Interval, z_of

RESAMPLES = 2_000


def mean_interval(
    differences: Sequence[float], *, seed: int = 0, level: float = 0.95, resamples: int = RESAMPLES
) -> Interval:
    """The percentile interval of the mean of `differences`, one a pair, widened for small samples.

    A plain percentile interval is too narrow by √((n-1)/n) and uses the normal where it needs Student's t; the widened one takes both
    back (Hesterberg, The American Statistician 69, 2015, section 5.1). The same `seed` gives the same interval. With fewer than two
    pairs, nothing is known: the interval is unbounded. Raises ValueError for a difference that is not finite.
    """
    values = list(differences)
    if not all(math.isfinite(value) for value in values):
        raise ValueError("a difference is not a finite number")
    count = len(values)
    if count < 2:
        return Interval(-math.inf, math.inf)
    chance = random.Random(seed)
    means = sorted(fmean(chance.choices(values, k=count)) for _ in range(resamples))
    tail = NormalDist().cdf(-math.sqrt(count / (count - 1)) * student(level, count - 1))
    return Interval(_quantile(means, tail), _quantile(means, 1 - tail))


def student(level: float, degrees: int) -> float:
    """Student's t for a two-sided interval: exact for one and two degrees, else by Hill's expansion (CACM algorithm 396)."""
    outside = 1 - level
    z = z_of(level)
    if degrees == 1:
        return 1 / math.tan(outside * math.pi / 2)
    if degrees == 2:
        return math.sqrt(2 / (outside * (2 - outside)) - 2)
    n = float(degrees)
    a = 1 / (n - 0.5)
    b = 48 / (a * a)
    c = ((20700 * a / b - 98) * a - 16) * a + 96.36
    d = ((94.5 / (b + c) - 3) / b + 1) * math.sqrt(a * math.pi / 2) * n
    y = (d * outside) ** (2 / n)
    if y > 0.05 + a:
        x, y = -z, z * z
        if degrees < 5:
            c += 0.3 * (n - 4.5) * (x + 0.6)
        c += (((0.05 * d * x - 5) * x - 7) * x - 2) * x + b
        y = (((((0.4 * y + 6.3) * y + 36) * y + 94.5) / c - y - 3) / b + 1) * x
        y = math.expm1(a * y * y)
    else:
        y = ((1 / (((n + 6) / (n * y) - 0.089 * d - 0.822) * (n + 2) * 3) + 0.5 / (n + 4)) * y - 1) * (n + 1) / (
            n + 2
        ) + 1 / y
    return math.sqrt(n * y)


def _quantile(ordered: Sequence[float], share: float) -> float:
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)
