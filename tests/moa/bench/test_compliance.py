"""Whether advice was followed, beside what the main model does without it."""

from __future__ import annotations

from typing import Any

import pytest

from moa.bench.arms import Result
from moa.bench.compliance import beside


def result(arm: str, *made: tuple[int, str, str], advice: str = "", at: int = 1) -> Result:
    given: list[dict[str, Any]] = [{"iteration": at, "text": advice, "steps": [advice]}] if advice else []
    return Result("i", arm, steps=3, made=[list(each) for each in made], given=given)


EDIT = (1, "edit", '{"path": "src/a.py"}')


@pytest.mark.parametrize(
    ("with_counsel", "without", "told", "followed", "anyway"),
    [
        (result("c", EDIT, advice="Look into src/a.py."), result("solo", (1, "grep", "{}")), 1, 1, 0),
        (result("c", EDIT, advice="Look into src/a.py."), result("solo", EDIT), 1, 1, 1),
        (result("c", (1, "grep", "{}"), advice="Look into src/a.py."), result("solo", EDIT), 1, 0, 1),
        # Only the next two replies count, in both.
        (result("c", EDIT, advice="Look into src/a.py.", at=2), result("solo", (3, *EDIT[1:])), 1, 0, 1),
        (result("c", EDIT, advice="Be careful."), result("solo", EDIT), 0, 0, 0),
        (result("c", advice="Look into src/a.py."), result("solo"), 0, 0, 0),
    ],
)
def test_following_counts_beside_what_is_done_without(
    with_counsel: Result, without: Result, told: int, followed: int, anyway: int
) -> None:
    found = beside([with_counsel], {"i": without})
    assert found == ({"told": told, "followed": followed, "anyway": anyway} if told else None)
