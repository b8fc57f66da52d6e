"""What stays valid when it is looked at after each pair: e-values and confidence sequences.

A p-value that is looked at again and again is below 0.05 sooner or later, whatever is true. An e-value may be looked at as often as
one likes: under the null it exceeds 1/α at any time with a probability of at most α (Ville's inequality).
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from moa.bench.stats.intervals import Interval

_GRID = 400
"""Steps of the grid of assumed means between -1 and 1; ends of an interval are rounded outwards to it."""


def e_value(helped: int, harmed: int) -> float:
    """The evidence against a fair coin after `helped` wins and `harmed` losses in any order: 20 rejects at 5 %.

    The bet is the uniform mixture over all coins, as good as any where nothing is known before. Two-sided; the sign of
    `helped - harmed` says which way. Infinite where it exceeds what a float holds.
    """
    if helped < 0 or harmed < 0:
        raise ValueError(f"counts of pairs can't be negative: {helped}, {harmed}")
    pairs = helped + harmed
    log = math.lgamma(helped + 1) + math.lgamma(harmed + 1) - math.lgamma(pairs + 2) + pairs * math.log(2)
    return math.exp(log) if log < 700 else math.inf


def one_sided_e_value(helped: int, harmed: int) -> float:
    """The evidence against "helps no more often than it harms": the mixture over the coins above one half alone."""
    log = _log_upper_half(helped, harmed)
    return math.exp(log) if log < 700 else math.inf


def _log_upper_half(helped: int, harmed: int) -> float:
    """log of 2·∫ p^h (1-p)^k over (1/2, 1), times 2^(h+k). The tail of the Beta is a binomial sum."""
    pairs = helped + harmed
    # P(Beta(h+1, k+1) > 1/2) = P(Binomial(h+k+1, 1/2) <= h)
    tail = sum(math.comb(pairs + 1, k) for k in range(helped + 1))
    log_tail = math.log(tail) - (pairs + 1) * math.log(2)
    whole = math.lgamma(helped + 1) + math.lgamma(harmed + 1) - math.lgamma(pairs + 2)
    return math.log(2) + whole + log_tail + pairs * math.log(2)


class ConfidenceSequence:
    """An interval of the mean of differences in [-1, 1] that holds at every look at once, with probability `level`.

    The hedged capital of Waudby-Smith and Ramdas (JRSS B 86, 2024, section 4): a bettor plays against each assumed mean, upwards and
    downwards; a mean whose bettor has made 1/α out of 1 is ruled out for good. Differences may be of right and wrong (-1, 0, 1) or of
    graded scores.
    """

    def __init__(self, level: float = 0.95) -> None:
        if not 0 < level < 1:
            raise ValueError(f"a level is between 0 and 1, not {level}")
        self._alpha = 1 - level
        self._up = [0.0] * (_GRID + 1)
        self._down = [0.0] * (_GRID + 1)
        self._lo, self._hi = 0, _GRID
        self.count = 0
        self._sum, self._squares = 0.5, 0.25

    @property
    def interval(self) -> Interval:
        """What is not ruled out by now."""
        lo, hi = max(0, self._lo - 1), min(_GRID, self._hi + 1)
        return Interval(2 * lo / _GRID - 1, 2 * hi / _GRID - 1)

    def extend(self, differences: Iterable[float]) -> Interval:
        """Take in further pairs, in their order, and return the interval."""
        for difference in differences:
            self.add(difference)
        return self.interval

    def add(self, difference: float) -> Interval:
        """Take in one more pair. Raises ValueError outside of [-1, 1]."""
        if not -1 <= difference <= 1:
            raise ValueError(f"a difference of scores is between -1 and 1, not {difference}")
        value = (difference + 1) / 2
        stake = self._stake()
        ruled_out = math.log(1 / self._alpha) + math.log(2)  # each direction holds half of the capital
        for index in range(self._lo, self._hi + 1):
            mean = index / _GRID
            up = min(stake, 0.5 / mean) if mean else stake
            down = min(stake, 0.5 / (1 - mean)) if mean < 1 else stake
            self._up[index] += math.log1p(up * (value - mean))
            self._down[index] += math.log1p(-down * (value - mean))
        self._narrow(ruled_out)
        # The stake of the next pair may use this one, never its own.
        self.count += 1
        average = (self._sum + value) / (self.count + 1)
        self._sum += value
        self._squares += (value - average) ** 2
        return self.interval

    def _narrow(self, ruled_out: float) -> None:
        while self._lo < self._hi and self._out(self._lo, ruled_out):
            self._lo += 1
        while self._hi > self._lo and self._out(self._hi, ruled_out):
            self._hi -= 1

    def _out(self, index: int, bound: float) -> bool:
        return max(self._up[index], self._down[index]) >= bound

    def _stake(self) -> float:
        """The paper's predictable plug-in: large where little varies, smaller as pairs come in."""
        count = self.count + 1
        variance = self._squares / count
        return math.sqrt(2 * math.log(2 / self._alpha) / (variance * count * math.log(count + 1)))
