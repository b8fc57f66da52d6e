"""The first word of a member's answer, whatever a model puts around it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moa.panel.grades import GRADES, Grade, highest, reaches, read, says_nothing
from moa.panel.prompts import MEANINGS

CASES: list[tuple[str, Grade, str]] = [
    # The word as it is asked for, and as models write it.
    ("NOTE\nRun the tests.", "note", "Run the tests."),
    ("NOTE: Run the tests.", "note", "Run the tests."),
    ("CONCERN The lock file is stale.", "concern", "The lock file is stale."),
    ("BLOCKER – it drops the table", "blocker", "it drops the table"),
    ("**BLOCKER:** it drops the table", "blocker", "it drops the table"),
    ("**Blocker**: it drops the table", "blocker", "it drops the table"),
    ("# Concern\n\nThe cache is never emptied.", "concern", "The cache is never emptied."),
    ("> note: small thing", "note", "small thing"),
    ("- concern: small thing", "concern", "small thing"),
    ("[CONCERN] small thing", "concern", "small thing"),
    ("`NOTE` small thing", "note", "small thing"),
    ('"BLOCKER" stop', "blocker", "stop"),
    ("\n\n  note\nsmall thing", "note", "small thing"),
    ("concern. The plan forgets Windows.", "concern", "The plan forgets Windows."),
    ("Severity: CONCERN\nThe plan forgets Windows.", "concern", "The plan forgets Windows."),
    ("BLOCKER：停止", "blocker", "停止"),
    ("NOTE (minor): rename it", "note", "(minor): rename it"),
    # Small and without a mark: a grade where it can be nothing else, else the first word of a sentence.
    ("blocker the tests fail", "blocker", "blocker the tests fail"),
    ("Concern about the cache: it grows.", "concern", "Concern about the cache: it grows."),
    ("Note that the file is missing.", "note", "Note that the file is missing."),
    ("Nothing stops the loop from running for ever.", "note", "Nothing stops the loop from running for ever."),
    ("Nothing-up-my-sleeve numbers are wanted here.", "note", "Nothing-up-my-sleeve numbers are wanted here."),
    # Absent: a note.
    ("Run the tests.", "note", "Run the tests."),
    ("Notebooks are not covered.", "note", "Notebooks are not covered."),
    ("The BLOCKER is the lock file.", "note", "The BLOCKER is the lock file."),
    ("Concerns: the cache, the lock.", "note", "Concerns: the cache, the lock."),
    # Two of them, a line each: the graver one.
    ("NOTE\nCONCERN\nMake sure of it.", "concern", "Make sure of it."),
    ("BLOCKER\nNOTE\nMake sure of it.", "blocker", "Make sure of it."),
    # Silence.
    ("NOTHING", "nothing", ""),
    ("**NOTHING**", "nothing", ""),
    ("nothing.", "nothing", ""),
    ("Nothing\n\nThe plan is sound.", "nothing", ""),
    ("NOTHING to add, the plan is sound and I would do the same.", "nothing", ""),
    ("Nothing to add.", "nothing", ""),
    ("I have nothing further to add at this point.", "nothing", ""),
    ("There is nothing to add.", "nothing", ""),
    ("No objections.", "nothing", ""),
    ("No further concerns or comments.", "nothing", ""),
    ("NOTE: nothing to add", "nothing", ""),
    ("BLOCKER: none", "nothing", ""),
    ("Blockers: none.", "nothing", ""),
    ("Looks good to me.", "nothing", ""),
    ("The plan is sound. Carry on.", "nothing", ""),
    ("LGTM!", "nothing", ""),
    ("None.", "nothing", ""),
    ("NOTE", "nothing", ""),
    # The question, copied: it says nothing by itself.
    ("\n".join(f"{word} - {meaning}." for word, meaning in MEANINGS.items()), "nothing", ""),
    (f"NOTE - {MEANINGS['NOTE']}\nCONCERN if {MEANINGS['BLOCKER']}.\nI will proceed.", "note", "I will proceed."),
    (f"NOTE - {MEANINGS['NOTE']}.\nCONCERN - the build has no separator.", "concern", "the build has no separator."),
    # Says more than that.
    ("Looks good, but run the tests.", "note", "Looks good, but run the tests."),
    ("No objections. Run the tests before you commit.", "note", "No objections. Run the tests before you commit."),
    ("NOTE: nothing checks the exit code", "note", "nothing checks the exit code"),
    ("No tests cover this.", "note", "No tests cover this."),
]  # fmt: skip


@pytest.mark.parametrize(("answer", "grade", "text"), CASES)
def test_what_the_first_word_says(answer: str, grade: Grade, text: str) -> None:
    found = read(answer)
    assert (found.grade, found.text) == (grade, text)


@given(st.text(max_size=400))
def test_any_answer_has_a_grade_and_loses_nothing_but_the_word(answer: str) -> None:
    found = read(answer)
    assert found.grade in GRADES
    assert found.text in answer
    assert (found.grade == "nothing") == (not found.text)


def test_the_gravest_counts_and_a_threshold_lets_through_what_reaches_it() -> None:
    assert highest(()) == "nothing" and highest(("note", "blocker", "concern")) == "blocker"
    assert [reaches(grade, "concern") for grade in GRADES] == [False, False, True, True]
    assert not reaches("nothing", "note")
    assert says_nothing("") and not says_nothing("x" * 500)
