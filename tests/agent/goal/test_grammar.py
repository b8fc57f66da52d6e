"""What stands after /goal: no goal is ever taken for a verb."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import UsageError
from agent.goal.budget import Budget, Spent, parse, show_span
from agent.goal.grammar import VERBS, Asked, may_run_busy, read


@pytest.mark.parametrize(
    "text",
    [
        "draft the report",
        "wait for the build",
        "gates of Kyiv: write an essay",
        "settle the argument",
        "Pause the video when it is over",
        "judgement day: write the script",
        "fix the bug\n\npause nothing",
        "done",
    ],
)
def test_a_goal(text: str) -> None:
    assert read(text) == Asked("set", text)


@pytest.mark.parametrize(
    ("text", "verb", "rest"),
    [
        ("", "status", ""),
        (" status ", "status", ""),
        ("pause", "pause", ""),
        ("history", "history", ""),
        ("gate", "gate list", ""),
        ("gate list", "gate list", ""),
        ("gate add pytest -q && ruff check", "gate add", "pytest -q && ruff check"),
        ("gate remove 2", "gate remove", "2"),
        ("criteria add remove all warnings", "criteria add", "remove all warnings"),
        ("criteria remove 1", "criteria remove", "1"),
        ("budget", "budget", ""),
        ("budget 30 turns, 2h and $1.50", "budget", "30 turns, 2h and $1.50"),
        ("budget off", "budget", "off"),
        ("judge", "judge", ""),
        ("judge fake:model", "judge", "fake:model"),
        ("set pause", "set", "pause"),
        ("set\nmany\nlines", "set", "many\nlines"),
        ("set gate keepers", "set", "gate keepers"),
    ],
)
def test_a_verb_in_its_exact_form(text: str, verb: str, rest: str) -> None:
    assert read(text) == Asked(verb, rest)


@pytest.mark.parametrize(
    "text",
    [
        "gate keepers",
        "gate remove the old fence",
        "gate add",
        "criteria for hiring",
        "clear the build folder",
        "resume writing",
        "pause\nand more",
        "status page for the api",
        "budget planning for next year",
        "budget 20 turnips",
        "judge these poems",
        "history of Rome",
    ],
)
def test_what_could_be_either_is_asked_about(text: str) -> None:
    with pytest.raises(UsageError, match="is that a goal, or the command") as raised:
        read(text)
    assert f"/goal set {text}" in str(raised.value.remedy)
    assert may_run_busy(text)


def test_set_alone_is_no_goal() -> None:
    with pytest.raises(UsageError, match="needs a text"):
        read("set")


@given(st.text(min_size=1))
def test_any_text_is_a_goal_a_verb_or_a_question(text: str) -> None:
    try:
        asked = read(text)
    except UsageError as question:
        assert text.strip() == "set" or f"/goal set {text.strip()}" in str(question.remedy)
        return
    if asked.verb == "set" and not text.strip().startswith("set"):
        assert asked.rest == text.strip()
    assert asked.verb.split()[0] in VERBS


def test_what_begins_a_turn_waits_and_what_looks_does_not() -> None:
    assert not may_run_busy("write a poem")
    assert not may_run_busy("resume")
    assert all(may_run_busy(text) for text in ("", "pause", "clear", "criteria add x", "budget 3 turns", "history"))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("5 turns", "5 turns"),
        ("1 turn", "1 turn"),
        ("30m", "20 turns, 30 min"),
        ("90 minutes", "20 turns, 90 min"),
        ("2.5h", "20 turns, 2 h 30 min"),
        ("45s", "20 turns, 45 s"),
        ("200k tokens", "20 turns, 200,000 tokens"),
        ("1.5m tokens", "20 turns, 1,500,000 tokens"),
        ("1,000 tok", "20 turns, 1,000 tokens"),
        ("$2", "20 turns, $2.00"),
        ("0.5 usd", "20 turns, $0.500"),
        ("2$", "20 turns, $2.00"),
        ("3 turns, 10m; $1 and 5k tokens", "3 turns, 10 min, 5,000 tokens, $1.00"),
        ("off", "no limit"),
    ],
)
def test_budgets(text: str, shown: str) -> None:
    assert str(parse(text, Budget())) == shown


@pytest.mark.parametrize(
    "text", ["", "turns", "20", "20 turnips", "$", "-3 turns", "0 turns", "1.5 turns", "2 h x", "$1.2.3"]
)
def test_no_budgets(text: str) -> None:
    assert parse(text, Budget()) is None


def test_a_budget_names_what_is_used_up() -> None:
    budget = Budget(turns=2, seconds=60, tokens=100, nano=10**9)
    assert budget.reached(Spent(1, 59, 99, 10**9 - 1)) is None
    assert budget.reached(Spent(2)) == "2 of 2 turns"
    assert budget.reached(Spent(0, 61)) == "61 s of 60 s"
    assert budget.reached(Spent(0, 0, 100)) == "100 of 100 tokens"
    assert budget.reached(Spent(0, 0, 0, 10**9, 1)) == "≥ $1.00 of $1.00"
    assert Budget(turns=None).reached(Spent(10**6)) is None
    assert show_span(7200) == "2 h"
