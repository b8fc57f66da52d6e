"""The ways of aggregation by name: what each needs, what it asks of members, and how it comes to its result.

A new one is one row here and what it points at. Nothing here imports a model client: a preset is checked with this table at every start.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from moa.aggregate.result import Aggregation
    from moa.panel.outcome import Answer


@dataclass(frozen=True, slots=True)
class Method:
    """One way from the panel's answers to a result.

    `settle` does it without a model; None: it takes one (`moa.counsel.analyst`). `decides` members end with a line that can be counted.
    `settled`: whether so many outstanding members can change nothing any more. `warning` is when it is the wrong one.
    """

    name: str
    settle: Callable[[Sequence[Answer]], Aggregation] | None = None
    decides: bool = False
    warning: str = ""
    settled: Callable[[Sequence[Answer], int], bool] | None = None

    @property
    def needs_model(self) -> bool:
        """Whether a model compares the answers."""
        return self.settle is None


def _raw(answers: Sequence[Answer]) -> Aggregation:
    from moa.aggregate.result import raw

    return raw(answers)


def _vote(answers: Sequence[Answer]) -> Aggregation:
    from moa.aggregate.result import vote

    return vote(answers)


def _vote_stands(answers: Sequence[Answer], outstanding: int) -> bool:
    from moa.aggregate.majority import decided
    from moa.aggregate.short_answer import find, normal

    return decided([normal(find(answer.text)) for answer in answers], outstanding)


METHODS: Mapping[str, Method] = {
    method.name: method
    for method in (
        Method("analysis"),
        Method("raw", _raw, warning="where the members will contradict each other: nobody compares their answers"),
        Method(
            "vote",
            _vote,
            decides=True,
            settled=_vote_stands,
            warning="where the answers are more than a number, a letter or a word: they are compared as strings",
        ),
    )
}
