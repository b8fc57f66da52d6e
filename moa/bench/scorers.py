"""How an answer becomes a score between 0 and 1. None of these asks a model or runs anything (`moa.bench.marking` does)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from agent.errors import UsageError
from agent.process.patience import OutOfPatience, at_most
from moa.aggregate.short_answer import find, normal

MATCH_S = 2.0
KINDS = ("auto", "number", "letter", "code")
LATER = ("command", "python", "rubric", "pairwise")
"""What `moa.bench.marking` scores: more than a look at the text."""
SCORERS = (*KINDS, "exact", "regex", *LATER)


def check(scorer: str, expected: str, where: str) -> None:
    """Raises UsageError, naming `where`, for a scorer that there is not or an expression that is none."""
    if scorer not in SCORERS:
        raise UsageError(f"{where}: there is no scorer {scorer!r}", remedy=f"use one of {', '.join(SCORERS)}")
    if scorer == "regex":
        try:
            re.compile(expected)
        except re.error as error:
            raise UsageError(f"{where}: expected is not a regular expression ({error})", remedy="correct it") from error


def score(text: str, expected: str, scorer: str) -> float:
    """1 where the text is right, else 0.

    `auto`, `number`, `letter` and `code` compare the short answer that the text ends in (`moa.aggregate.short_answer`), `exact` the
    whole text but for space around it, `regex` looks for the expression `expected` anywhere in it; what it does not find in 2 s is not there.
    """
    if scorer == "exact":
        return float(text.strip() == expected.strip())
    if scorer == "regex":
        try:
            with at_most(MATCH_S):
                return float(re.search(expected, text) is not None)
        except OutOfPatience:
            return 0.0
    return agrees(vote(text, scorer), expected, scorer)


def agrees(form: str, expected: str, scorer: str) -> float:
    """1 where a short answer's canonical form is that of what is expected; for the scorers in `KINDS`."""
    return float(form == normal(expected, scorer))  # type: ignore[arg-type]


def vote(text: str, scorer: str) -> str:
    """The canonical form in which answers are counted: of the short answer, or for other scorers of the whole text's."""
    return normal(find(text), scorer if scorer in KINDS else "auto")  # type: ignore[arg-type]


def draco(met: Iterable[str], weights: Mapping[str, float]) -> float:
    """DRACO's score of a report, in percent: the weights of the criteria that it meets over all positive ones, between 0 and 100.

    Weights may be negative: to meet such a criterion costs points. An id that is no criterion counts nothing. Raises ValueError where no
    weight is positive.
    """
    return weighted(dict.fromkeys(met, 1.0), weights)


def weighted(values: Mapping[str, float], weights: Mapping[str, float]) -> float:
    """The same, where a criterion may be met in part (some judges say so, and some don't): `values` are between 0 and 1."""
    positive = sum(weight for weight in weights.values() if weight > 0)
    if positive <= 0:
        raise ValueError("a rubric needs a criterion of positive weight")
    gained = sum(weights.get(criterion, 0) * value for criterion, value in values.items())
    return 100 * min(1.0, max(0.0, gained / positive))
