"""The four cells: two arms on the same items, item by item."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from moa.bench.stats.bootstrap import mean_interval
from moa.bench.stats.intervals import Interval, tango
from moa.bench.stats.mcnemar import exact_p

RIGHT = 0.5
"""A graded score from here on counts as right in the cells."""


@dataclass(frozen=True, slots=True)
class Cells:
    """How often an arm and the one `against` which it stands were right. `wrong_right` is help, `right_wrong` harm. `delta` is the mean
    difference of scores, `ci95` its interval: Tango's where all scores are 0 or 1, else the paired bootstrap's; `p` McNemar's, exact.
    """

    arm: str
    against: str
    right_right: int
    right_wrong: int
    wrong_right: int
    wrong_wrong: int
    delta: float
    ci95: Interval
    p: float

    @property
    def pairs(self) -> int:
        """On how many items both have a result."""
        return self.right_right + self.right_wrong + self.wrong_right + self.wrong_wrong


def compare(arm: str, against: str, ours: Mapping[str, float], theirs: Mapping[str, float], *, seed: int) -> Cells:
    """Compare two arms' scores by item, on the items that both have."""
    items = [item for item in theirs if item in ours]
    cells = {(a, b): 0 for a in (False, True) for b in (False, True)}
    for item in items:
        cells[theirs[item] >= RIGHT, ours[item] >= RIGHT] += 1
    differences = [ours[item] - theirs[item] for item in items]
    helped, harmed = cells[False, True], cells[True, False]
    graded = any(score not in (0.0, 1.0) for scores in (ours, theirs) for score in scores.values())
    return Cells(
        arm,
        against,
        right_right=cells[True, True],
        right_wrong=harmed,
        wrong_right=helped,
        wrong_wrong=cells[False, False],
        delta=sum(differences) / len(items) if items else 0.0,
        ci95=mean_interval(differences, seed=seed) if graded else tango(helped, harmed, len(items)),
        p=exact_p(helped, harmed),
    )
