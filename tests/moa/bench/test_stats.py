"""The statistics of the bench: against a reference, at their ends, and in many seeded lives."""

from __future__ import annotations

import math
import random

import pytest

from moa.bench.stats.bootstrap import mean_interval, student
from moa.bench.stats.intervals import newcombe, tango, wilson
from moa.bench.stats.mcnemar import exact_p
from moa.bench.stats.sequential import ConfidenceSequence, e_value, one_sided_e_value


@pytest.mark.slow
def test_mcnemar_is_the_exact_binomial_test_of_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    for helped in range(0, 40, 3):
        for harmed in range(1, 60, 4):
            expected = stats.binomtest(helped, helped + harmed, 0.5).pvalue
            assert exact_p(helped, harmed) == pytest.approx(expected, rel=1e-9)
    assert exact_p(1200, 1000) == pytest.approx(stats.binomtest(1200, 2200, 0.5).pvalue, rel=1e-9)


@pytest.mark.parametrize(
    ("helped", "harmed", "p"), [(0, 0, 1.0), (5, 5, 1.0), (0, 5, 0.0625), (10, 2, 79 * 2 / 4096), (1, 9, 11 * 2 / 1024)]
)
def test_mcnemar_by_hand(helped: int, harmed: int, p: float) -> None:
    assert exact_p(helped, harmed) == pytest.approx(p, rel=1e-12)
    assert exact_p(harmed, helped) == exact_p(helped, harmed)


@pytest.mark.parametrize(
    ("cells", "low", "high"),
    # Cells (both, helped, harmed, neither): Newcombe 1998, table II, method 10.
    [((36, 12, 2, 0), 0.0569, 0.3404), ((43, 0, 1, 0), -0.1181, 0.0597), ((0, 0, 0, 10), -0.2775, 0.2775)],
)
def test_newcombes_interval_is_the_published_one(cells: tuple[int, int, int, int], low: float, high: float) -> None:
    both, helped, harmed, neither = cells
    assert newcombe(helped, harmed, both, neither) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(("helped", "harmed", "pairs"), [(12, 2, 50), (0, 1, 44), (7, 7, 30), (3, 0, 12), (20, 5, 25)])
def test_tangos_interval_ends_where_the_score_is_the_quantile(helped: int, harmed: int, pairs: int) -> None:
    """The score test itself, with the discordant share found by a search for the largest likelihood and not by the closed form."""

    def score(delta: float) -> float:
        def likelihood(harm: float) -> float:
            cells = ((helped, harm + delta), (harmed, harm), (pairs - helped - harmed, 1 - 2 * harm - delta))
            return sum(count * math.log(max(share, 1e-300)) for count, share in cells if count)

        lo, hi = max(0.0, -delta), (1 - delta) / 2
        for _step in range(200):
            one, two = lo + (hi - lo) / 3, hi - (hi - lo) / 3
            lo, hi = (one, hi) if likelihood(one) < likelihood(two) else (lo, two)
        return (helped - harmed - pairs * delta) / math.sqrt(pairs * (2 * lo + delta - delta**2))

    found, mirrored = tango(helped, harmed, pairs), tango(harmed, helped, pairs)
    assert (mirrored.lo, mirrored.hi) == pytest.approx((-found.hi, -found.lo), abs=1e-9)
    assert found.lo < (helped - harmed) / pairs < found.hi
    for end, quantile in ((found.lo, 1.959964), (found.hi, -1.959964)):
        if -0.999 < end < 0.999:
            assert score(end) == pytest.approx(quantile, abs=1e-4)


def test_nothing_is_known_without_pairs_and_bad_counts_are_refused() -> None:
    assert tango(0, 0, 0) == newcombe(0, 0, 0, 0) == (-1.0, 1.0)
    assert wilson(0, 0) == (0.0, 1.0)
    assert mean_interval([0.5]) == (-math.inf, math.inf)
    for wrong in (
        lambda: tango(3, 3, 5),
        lambda: exact_p(-1, 2),
        lambda: mean_interval([0, math.nan]),
        lambda: wilson(3, 2),
    ):
        with pytest.raises(ValueError):
            wrong()


@pytest.mark.slow
@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 5, 9, 29, 200])
def test_students_quantile_is_scipys(degrees: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    assert student(0.95, degrees) == pytest.approx(stats.t.ppf(0.975, degrees), rel=2e-4)


def test_the_bootstrap_is_seeded() -> None:
    chance = random.Random(3)
    values = [chance.uniform(-1, 1) for _ in range(40)]
    assert mean_interval(values, seed=5) == mean_interval(values, seed=5) != mean_interval(values, seed=6)


def test_an_e_value_pays_what_a_fair_coin_gives() -> None:
    """Its mean over all outcomes of a fair coin is 1: that is what makes it an e-value."""
    for pairs in (1, 2, 9, 30):
        for evidence in (e_value, one_sided_e_value):
            mean = sum(math.comb(pairs, h) * evidence(h, pairs - h) for h in range(pairs + 1)) / 2**pairs
            assert mean == pytest.approx(1, rel=1e-9)
    assert e_value(10, 0) > 20 > e_value(10, 5)
    assert one_sided_e_value(0, 10) < 1 < one_sided_e_value(10, 0)


# In many seeded lives

PAIRS = 60
SETTINGS = [(0.15, 0.15), (0.25, 0.10), (0.05, 0.05), (0.10, 0.40)]
"""How often an arm turns wrong into right, and right into wrong."""


def share(truths: list[bool]) -> float:
    return sum(truths) / len(truths)


def outcomes(chance: random.Random, helps: float, harms: float) -> list[int]:
    return chance.choices([1, -1, 0], weights=[helps, harms, 1 - helps - harms], k=PAIRS)


def judge(lives: int, helps: float, harms: float) -> dict[str, float]:
    """How often each interval covers, and how often each test calls a null effect null (or, with an effect, does not call it reversed)."""
    chance, delta = random.Random(f"{helps} {harms}"), helps - harms
    found: dict[str, list[bool]] = {name: [] for name in ("tango", "newcombe", "sequence", "mcnemar", "e", "boot")}
    for life in range(lives):
        pairs = outcomes(chance, helps, harms)
        helped, harmed = pairs.count(1), pairs.count(-1)
        both = sum(chance.random() < 0.6 for _ in range(PAIRS - helped - harmed))
        found["tango"].append(delta in tango(helped, harmed, PAIRS))
        found["newcombe"].append(delta in newcombe(helped, harmed, both, PAIRS - helped - harmed - both))
        sequence, seen, h, k, peak = ConfidenceSequence(), True, 0, 0, 0.0
        for pair in pairs:
            seen = seen and delta in sequence.add(pair)
            h, k = h + (pair == 1), k + (pair == -1)
            peak = max(peak, e_value(h, k)) if delta == 0 or (h - k) * delta < 0 else peak
        found["sequence"].append(seen)
        found["e"].append(peak < 20)
        found["mcnemar"].append(exact_p(helped, harmed) >= 0.05 or (helped - harmed) * delta > 0)
        graded = [max(-1.0, min(1.0, chance.gauss(delta, 0.3))) for _ in range(PAIRS)]
        found["boot"].append(delta in mean_interval(graded, seed=life, resamples=400))
    return {name: share(truths) for name, truths in found.items()}


@pytest.mark.parametrize(("helps", "harms"), SETTINGS)
@pytest.mark.slow
def test_in_2000_lives_intervals_cover_and_null_effects_are_called_null(helps: float, harms: float) -> None:
    shares = judge(2_000, helps, harms)
    print(shares)
    assert min(shares.values()) >= 0.93, shares


def test_in_a_few_lives_too() -> None:
    shares = judge(40, *SETTINGS[1])
    assert min(shares.values()) >= 0.85, shares
