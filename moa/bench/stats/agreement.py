"""How far two judges agree beyond chance."""

from __future__ import annotations

import random
from collections.abc import Sequence

from moa.bench.stats.intervals import Interval

RESAMPLES = 2_000


def kappa(pairs: Sequence[tuple[bool, bool]]) -> float | None:
    """Cohen's kappa of two judges' verdicts on the same things: 1 is agreement, 0 what chance alone would give.

    None where there is nothing to tell: no pairs, or both say the same of everything.
    """
    count = len(pairs)
    if not count:
        return None
    same = sum(one == other for one, other in pairs) / count
    ones, others = sum(one for one, _ in pairs) / count, sum(other for _, other in pairs) / count
    expected = ones * others + (1 - ones) * (1 - others)
    return None if expected == 1 else (same - expected) / (1 - expected)


def kappa_interval(pairs: Sequence[tuple[bool, bool]], *, seed: int = 0, level: float = 0.95) -> Interval | None:
    """Its percentile bootstrap interval; None where `kappa` is None, or nearly always is."""
    if kappa(pairs) is None:
        return None
    chance = random.Random(seed)
    drawn = (kappa(chance.choices(pairs, k=len(pairs))) for _ in range(RESAMPLES))
    found = sorted(value for value in drawn if value is not None)
    if len(found) < RESAMPLES // 2:
        return None
    tail = (1 - level) / 2
    return Interval(found[int(tail * len(found))], found[min(len(found) - 1, int((1 - tail) * len(found)))])
