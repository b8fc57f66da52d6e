"""Telling an answer that parrots its guidance from one that follows it."""

from __future__ import annotations

import pytest

from moa.counsel.leak import repeats

GUIDANCE = """Private counsel: what other models advise you.
Next steps:
- Open notes.txt and read it
Agreed:
- The agent should open the file `notes.txt` before it answers."""


# The first two were seen on a real 1.5B model.
@pytest.mark.parametrize(
    ("answer", "leaks"),
    [
        ("The agent should open the file `notes.txt` and read its contents.", True),
        ("The agent should open the file notes.txt before it answers", True),
        ("Buy milk.", False),
        ("Open notes.txt", False),
        (
            "Your list has one entry, milk. I opened the file `notes.txt` to see that, and there is nothing else in it.",
            False,
        ),
        ("", False),
    ],
)
def test_an_answer_that_parrots_is_told_from_one_that_follows(answer: str, leaks: bool) -> None:
    assert repeats(answer, GUIDANCE) is leaks
