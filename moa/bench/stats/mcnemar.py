"""McNemar's exact test: whether one of two paired arms is right more often than chance would have it."""

from __future__ import annotations

import math


def exact_p(helped: int, harmed: int) -> float:
    """The two-sided p-value of `helped` wrong→right against `harmed` right→wrong items.

    Pairs on which both arms agree say nothing about the difference and do not enter. Under the null each discordant pair is a fair
    coin, so the value is the exact binomial one (twice the smaller tail, 1 at most). Raises ValueError for a negative count.
    """
    if helped < 0 or harmed < 0:
        raise ValueError(f"counts of pairs can't be negative: {helped}, {harmed}")
    pairs, fewer = helped + harmed, min(helped, harmed)
    tail = sum(math.comb(pairs, k) for k in range(fewer + 1))
    return min(1.0, _ratio(2 * tail, pairs))


def _ratio(numerator: int, pairs: int) -> float:
    # Python divides integers of any size exactly; 2.0 ** pairs would overflow past 1,023 pairs.
    return numerator / (1 << pairs)
