"""Killed in the middle of everything: the session goes on, nothing that was shown as finished is lost, the books are right.

Ten moments; `python -m tests.bench kill` does two hundred.
"""

from __future__ import annotations

import pytest

from tests.support.endpoint import ScriptedEndpoint
from tests.support.killing import kill_once, measure_turn, prepare, unsendable
from tests.support.program import Program

pytestmark = pytest.mark.alone

ROUNDS = 10


@pytest.mark.slow
def test_a_killed_turn_resumes_and_its_books_are_right(program: Program, endpoint: ScriptedEndpoint) -> None:
    prepare(program, endpoint)
    seconds = measure_turn(program)
    killed = []
    for seed in range(ROUNDS):
        # Each further moment lies later in the turn; the seed moves it within its tenth.
        killed.append(kill_once(program, endpoint, seed, seconds * (seed + 1) / ROUNDS, None))
    assert [(each.seed, each.phase, each.problems) for each in killed if each.problems] == []
    assert len({each.phase for each in killed} - {"start", "after the end"}) >= 2


def test_a_call_without_its_result_is_noticed() -> None:
    call = {"role": "assistant", "tool_calls": [{"id": "a"}]}
    result = {"role": "tool", "tool_call_id": "a"}
    assert unsendable([call, result, {"role": "user"}]) == []
    assert unsendable([call, {"role": "user"}]) == ["the call a has no result"]
    assert unsendable([result]) == ["a result without its call a"]
