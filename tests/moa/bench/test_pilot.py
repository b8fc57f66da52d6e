"""The pilot's word: what it says when, and how often it is wrong in many seeded lives."""

from __future__ import annotations

import random

import pytest

from moa.bench.pilot import MOST_PAIRS, chance_that_it_helps, judge


@pytest.mark.parametrize(
    ("helped", "harmed", "same", "word", "final"),
    [
        (0, 0, 0, "leave it off", False),
        (0, 0, 50, "leave it off", True),
        (8, 0, 0, "iteration", True),
        (9, 1, 10, "signal", False),
        (4, 2, 44, "signal", True),
        (0, 9, 3, "leave it off", True),
        (3, 3, 42, "leave it off", True),
        (20, 4, 26, "iteration", True),
    ],
)
def test_the_word(helped: int, harmed: int, same: int, word: str, final: bool) -> None:
    found = judge([1.0] * helped + [-1.0] * harmed + [0.0] * same)
    assert (found.word, found.final) == (word, final)
    assert 0 <= found.chance <= 0.5 and f"helped {helped} times" in found.why


def test_the_chance_is_a_half_where_nothing_is_known() -> None:
    assert chance_that_it_helps(0, 0) == 0.5 and chance_that_it_helps(5, 5) == pytest.approx(0.5)
    assert chance_that_it_helps(9, 1) == pytest.approx(1 - chance_that_it_helps(1, 9))


def words(lives: int, helps: float, harms: float) -> dict[str, float]:
    """The share of each final word."""
    chance, found = random.Random(f"{helps} {harms}"), {"leave it off": 0, "signal": 0, "iteration": 0}
    for _life in range(lives):
        pairs: list[float] = []
        while True:
            pairs += chance.choices([1.0, -1.0, 0.0], weights=[helps, harms, 1 - helps - harms])
            verdict = judge(pairs)
            if verdict.final:
                found[verdict.word] += 1
                break
        assert len(pairs) <= MOST_PAIRS
    return {word: number / lives for word, number in found.items()}


@pytest.mark.parametrize(
    ("lives", "helps", "harms", "word", "least"),
    [
        (100, 0.5, 0.02, "iteration", 0.9),
        pytest.param(2_000, 0.4, 0.05, "iteration", 0.93, marks=pytest.mark.slow),
        pytest.param(2_000, 0.05, 0.3, "leave it off", 0.93, marks=pytest.mark.slow),
    ],
)
def test_an_effect_is_found(lives: int, helps: float, harms: float, word: str, least: float) -> None:
    assert words(lives, helps, harms)[word] >= least


@pytest.mark.parametrize(("lives", "most"), [(100, 0.12), pytest.param(2_000, 0.05, marks=pytest.mark.slow)])
@pytest.mark.parametrize("share", [0.02, 0.15, 0.4])
def test_no_effect_is_not_called_one_however_often_it_is_looked_at(lives: int, most: float, share: float) -> None:
    assert words(lives, share, share)["iteration"] <= most
