"""The vote: where an answer stands, which answers are the same, and what a weighted count makes of them."""

from __future__ import annotations

import os
import random
import statistics
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moa.aggregate.majority import asked_until_decided, decided, expected, winner
from moa.aggregate.reliability import learn
from moa.aggregate.short_answer import find, normal
from moa.bench.stored import DATA_ENV, Stored, load


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("I think.\n\n**Decision:** Merge it!", "Merge it!"),
        ("First 3.\nFinal answer: 42", "42"),
        (r"So $x = \boxed{\frac{1}{2}}$, as said.", r"\frac{1}{2}"),
        ("It is long.\nThe answer is (C).", "(C)."),
        ("16 - 7 = 9\n#### 18", "18"),
        ('{"reasoning": "the answer is 3?", "answer": "[[3, 1], [2, 3]]"}', "[[3, 1], [2, 3]]"),
        ('{"reasoning": "…", "answer": 7}', "7"),
        ("Answer: 3\nNo, wait.\nAnswer: 4", "4"),
        ("yes", "yes"),
        ("", ""),
    ],
)
def test_where_an_answer_stands(text: str, answer: str) -> None:
    assert find(text) == answer


@pytest.mark.parametrize(
    "alike",
    [
        ("57500", "$57,500", "57,500.00", r"\$57,500", "57500 ", r"\(57500\)"),
        ("1.25", "5/4", r"\frac{5}{4}", r"\dfrac54", r"$\frac{5}{4}$", "5 / 4"),
        ("-0.5", "-1/2", r"-\frac{1}{2}", "−0.5", "-.5"),
        ("50%", "50", r"50\%"),
        (r"3\sqrt{5}+\sqrt{15}", r"3\sqrt{5} + \sqrt{15}"),
        ("C", "(C)", "c.", "Option C", "(C) LIFO memory", "C. LIFO memory", r"\text{C}"),
        ("[1, 2]", "[1,2]"),
        ("{'a': 1}", '{"a":1}'),
        ("'merge it'", "Merge it!", "**merge it**"),
        ("90", r"90^\circ", r"90^{\circ}"),
        ("True", "true", "`True`"),
    ],
)
def test_answers_that_are_the_same(alike: tuple[str, ...]) -> None:
    assert len({normal(answer) for answer in alike}) == 1, {answer: normal(answer) for answer in alike}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("x + 1", "x - 1"),
        ("C++", "C"),
        ("1.25", "125"),
        ("[1, 2]", "[2, 1]"),
        ("-3", "3"),
        ("A", "B"),
        ("1/2", "2"),
        ("merge", "wait"),
    ],
)
def test_answers_that_differ(one: str, other: str) -> None:
    assert normal(one) != normal(other)


@given(st.text(max_size=80), st.sampled_from(["auto", "number", "letter", "code"]))
@settings(max_examples=150, deadline=None)
def test_any_text_has_a_form_and_keeps_it(text: str, kind: str) -> None:
    found = normal(find(text), kind)  # type: ignore[arg-type]
    assert found == normal(find(text), kind)  # type: ignore[arg-type]


@given(st.lists(st.sampled_from(["a", "b", "c", None]), min_size=1, max_size=8))
@settings(max_examples=150, deadline=None)
def test_stopping_early_never_changes_the_winner(votes: list[str | None]) -> None:
    asked = asked_until_decided(votes)
    if asked < len(votes):
        assert decided(votes[:asked], len(votes) - asked)
        assert winner(votes[:asked]) == winner(votes)


def simulated(seed: int, abilities: tuple[float, ...], items: int) -> tuple[list[tuple[str | None, ...]], list[str]]:
    chance = random.Random(seed)
    truths = [chance.choice("ABCDE") for _ in range(items)]
    return [tuple(t if chance.random() < a else chance.choice("ABCDE") for a in abilities) for t in truths], truths


def right(found: list[str | None], truths: list[str]) -> float:
    return 100 * statistics.fmean(one == other for one, other in zip(found, truths, strict=True))


def test_reliabilities_are_found_without_labels() -> None:
    rows, truths = simulated(1, (0.9, 0.85, 0.3, 0.25, 0.2), 400)
    weights = learn(rows)
    assert min(weights.ability[:2]) > max(weights.ability[2:]) + 1
    assert (
        right([weights.winner(row) for row in rows], truths)
        > right([winner(tuple(reversed(row))) for row in rows], truths) + 5
    )


def test_where_little_was_seen_it_is_the_plain_vote() -> None:
    rows, _ = simulated(2, (0.9, 0.5, 0.4, 0.4, 0.4), 8)
    weights = learn(rows)
    assert weights.trust < 0.25
    assert learn([("a", "b"), ("a", "a"), ("b", "a")]).winner(("b", "a")) == "b"
    assert learn([]).winner(()) is None and learn([("a", None, "b")]).winner((None, None, None)) is None
    with pytest.raises(ValueError, match="columns"):
        learn([("a",), ("a", "b")])


# On stored answers of real models: set MOA_DATA to a folder of the layout that docs/evidence.md names.

needs_data = pytest.mark.skipif(DATA_ENV not in os.environ, reason=f"{DATA_ENV} names no folder of stored answers")

PANELS = [
    ("gsm8k", 654, 85.9, 91.3, 95.9, "gemma-2-9b-it, Qwen2-7B-Instruct, Meta-Llama-3.1-8B-Instruct, Mistral-Nemo-Instruct-2407, Phi-3.5-mini-instruct"),
    ("gsm8k", 654, 79.1, 84.9, 94.2, "gemma-2-2b-it, command-r, Mixtral-8x7B-Instruct-v0.1, Yi-1.5-9B-Chat, gpt-3.5-turbo-0125"),
    ("gsm8k", 654, 96.2, 96.2, 98.2, "gpt-4o-2024-08-06, claude-3-5-sonnet-20241022, Llama-3.1-405B-Inst@sambanova, Mistral-Large-2, o1-mini-2024-09-12"),
    ("mmlu-pro", 5943, 47.0, 54.2, 73.0, "Meta-Llama-3_1-8B-Instruct, Mixtral-8x7B-Instruct-v0.1, Phi-3-mini-4k-instruct, c4ai-command-r-v01, Qwen1.5-72B-Chat"),
    ("mmlu-pro", 5068, 72.4, 72.7, 87.4, "gemini-1.5-pro-002, gemini-1.5-flash-002, Meta-Llama-3_1-70B-Instruct, DeepSeek-Coder-V2, jamba-1.5-large"),
    ("crux", 400, 57.2, 61.3, 77.8, "Qwen2.5-7B-Instruct, gemma-2-9b-it, Meta-Llama-3.1-8B-Instruct, claude-3-haiku-20240307, gpt-3.5-turbo-0125"),
]  # fmt: skip
"""Suite, items, and in percent: best single member, plain vote with ties to the more accurate member, at least one right."""


@needs_data
@pytest.mark.slow
@pytest.mark.parametrize(("suite", "items", "best", "voted", "oracle", "names"), PANELS)
def test_the_published_panels(suite: str, items: int, best: float, voted: float, oracle: float, names: str) -> None:
    stored, panel = load(suite), names.split(", ")
    truths = stored.truths(panel)
    accuracy = {m: right([stored.vote(m, item) for item in stored.asked(panel)], truths) for m in panel}
    rows = stored.votes(sorted(panel, key=accuracy.__getitem__, reverse=True))
    assert len(rows) == items
    assert max(accuracy.values()) == pytest.approx(best, abs=0.1)
    assert right([winner(row) for row in rows], truths) == pytest.approx(voted, abs=0.1)
    assert 100 * statistics.fmean(t in row for row, t in zip(rows, truths, strict=True)) == pytest.approx(
        oracle, abs=0.1
    )
    saved = sum(len(row) - asked_until_decided(row) for row in rows)
    assert saved > 0 and all(winner(row[: asked_until_decided(row)]) == winner(row) for row in rows if decided(row, 0))
    print(f"{suite}: early stop saves {100 * saved / (5 * len(rows)):.1f} % of the calls")


@given(st.lists(st.sampled_from(["a", "b", "c", None]), max_size=8), st.randoms())
@settings(max_examples=100, deadline=None)
def test_a_lot_does_not_look_at_seats(votes: list[str | None], chance: random.Random) -> None:
    moved = chance.sample(votes, len(votes))
    assert winner(votes, lot="item") == winner(moved, lot="item")
    assert (winner(votes, lot="item") is None) == (winner(votes) is None)
    assert expected(votes, "a") == expected(moved, "a")


def test_a_tie_is_drawn_fairly() -> None:
    drawn = [winner(("x", "y", "y", "x", "z"), lot=str(item)) for item in range(2_000)]
    assert 900 < drawn.count("x") < 1_100 and "z" not in drawn
    assert [expected(("x", "y"), truth) for truth in "xyz"] == [0.5, 0.5, 0.0] and expected((None,), "x") == 0.0


def gains(stored: Stored, panels: int, seed: int) -> list[float]:
    """Points that the weighted vote wins over the plain one, whose ties are drawn by lot (their expected value): neither has seen a label."""
    chance, found = random.Random(seed), []
    for _ in range(panels):
        panel = chance.sample(sorted(stored.answers), 5)
        rows, truths = stored.votes(panel), stored.truths(panel)
        weights, known = learn(rows), {}
        for row in rows:
            known.setdefault(row, weights.winner(row))
        plain = 100 * statistics.fmean(expected(row, truth) for row, truth in zip(rows, truths, strict=True))
        found.append(right([known[row] for row in rows], truths) - plain)
    return found


@needs_data
@pytest.mark.slow
@pytest.mark.parametrize("suite", ["gsm8k", "math", "crux", "mmlu-pro"])
def test_a_weighted_vote_gains_on_200_random_panels(suite: str) -> None:
    found = gains(load(suite), 200, seed=16)
    mean, half = statistics.fmean(found), 1.96 * statistics.stdev(found) / len(found) ** 0.5
    print(f"{suite}: {mean:+.2f} ± {half:.2f} points, worst {min(found):+.2f}, best {max(found):+.2f}")
    assert mean - half > 0


SAMPLE = Path(__file__).parents[2] / "data" / "votes"


def test_the_sample_that_is_committed() -> None:
    stored = load("gsm8k", SAMPLE)
    panel = sorted(stored.answers)
    rows, truths = stored.votes(panel), stored.truths(panel)
    assert len(rows) == 30 and len(panel) == 5
    assert right([learn(rows).winner(row) for row in rows], truths) >= right([winner(row) for row in rows], truths) - 4
