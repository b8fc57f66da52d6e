"""What can't be cancelled ends all the same."""

from __future__ import annotations

import re
import signal

import pytest

from agent.process.patience import OutOfPatience, at_most
from moa.bench.scorers import score


def test_a_match_that_takes_for_ever_ends() -> None:
    handler, (left, _) = signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)
    with pytest.raises(OutOfPatience, match=r"longer than 0\.05 s"), at_most(0.05):
        re.search("^(a+)+$", "a" * 60 + "!")
    assert signal.getsignal(signal.SIGALRM) is handler
    assert signal.getitimer(signal.ITIMER_REAL)[0] <= left


def test_the_expression_of_an_item_may_take_two_seconds() -> None:
    assert score("a" * 60 + "!", "^(a+)+$", "regex") == 0.0
    assert score("a" * 60, "^(a+)+$", "regex") == 1.0
