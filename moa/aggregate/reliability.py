"""Who is how reliable, from agreement alone: a vote that is weighted without a single label.

The model is Dawid and Skene's (Applied Statistics 28, 1979) in three parts. A member is right with a probability that its ability and the
item's difficulty give (as in GLAD, Whitehill et al., NeurIPS 2009). Wrong answers coincide at a rate that is learned, too: without it two
members with the same mistake look like two experts. Where the answers are a closed set of letters, a member's confusion of one letter
with another corrects for its favourites. All of it is shrunk: abilities towards their mean, confusion towards the member's habit, and the
outcome towards the plain vote where few items have been seen.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from moa.aggregate.majority import count

LEVELS = (-1.5, 0.0, 1.5)
"""Difficulties, in log-odds: easy, middling, hard."""
ABILITY_PRIOR = 4.0
"""Weight, in items, of the panel's mean in each member's ability."""
COINCIDENCE_PRIOR = 8.0
CONFUSION_PRIOR = 500.0
"""Weight, in items, of a member's habit in its confusions. Low values win nothing and lose more at worst (docs/evidence.md)."""
THIN_ITEMS = 30.0
"""With so many telling items, the plain vote and the model weigh the same."""
MOST_LETTERS = 12
_ROUNDS = 30
_NONE = -2

Vote = str | None
Pattern = tuple[int, ...]
"""Who agrees with whom: the number of its answer for each member, -1 where it gave none."""


@dataclass(slots=True)
class Weights:
    """What was learned: `ability` of each member in log-odds at middling difficulty, `mix` and `coincidence` of each level, and
    `trust`, the weight of the model against the plain vote, from 0 (nothing was seen) towards 1."""

    ability: list[float]
    mix: list[float]
    coincidence: list[float]
    trust: float
    confusion: list[dict[tuple[str, str], float]] = field(default_factory=list)
    _groups: dict[Pattern, dict[int, float]] = field(default_factory=dict, repr=False)

    def scores(self, votes: Sequence[Vote]) -> dict[str, float]:
        """How much speaks for each answer that was given (log-odds; only differences count), in the order of the votes."""
        shape = _pattern(votes)
        by_group = self._by_group(shape)
        names = {group: vote for group, vote in zip(shape, votes, strict=True) if vote is not None}
        numbers = dict(count(votes).ranked)
        found: dict[str, float] = {}
        for group, vote in names.items():
            learned = math.log(max(by_group[group], 1e-300)) + self._confused(vote, votes)
            found[vote] = self.trust * learned + (1 - self.trust) * 2.0 * numbers[vote]
        return found

    def _by_group(self, shape: Pattern) -> dict[int, float]:
        if shape not in self._groups:
            found: dict[int, float] = defaultdict(float)
            for (group, _level), weight in _posterior(shape, self.ability, self.mix, self.coincidence).items():
                found[group] += weight
            self._groups[shape] = found
        return self._groups[shape]

    def winner(self, votes: Sequence[Vote]) -> Vote:
        """The answer for which most speaks; None where nobody voted."""
        scores = self.scores(votes)
        return max(scores, key=scores.__getitem__) if scores else None

    def _confused(self, truth: str, votes: Sequence[Vote]) -> float:
        if not self.confusion:
            return 0.0
        return sum(
            math.log(self.confusion[member].get((truth, vote), 1.0))
            for member, vote in enumerate(votes)
            if vote is not None and vote != truth
        )


def learn(items: Sequence[Sequence[Vote]]) -> Weights:
    """Learn from a panel's normalised answers, one row an item, one column a member; None abstains. No labels are taken.

    Raises ValueError where rows differ in length or there are no members. Deterministic.
    """
    members = {len(row) for row in items} or {0}
    if len(members) > 1:
        raise ValueError(f"every item needs a vote or None for each member; rows have {sorted(members)} columns")
    size = members.pop()
    shapes = Counter(_pattern(row) for row in items)
    telling = sum(number for shape, number in shapes.items() if len({group for group in shape if group >= 0}) > 1)
    # Two members that differ say nothing of who is right; a third has to agree with one of them.
    trust = telling / (telling + THIN_ITEMS) if size > 2 else 0.0
    weights = Weights(_starts(shapes, size), [1 / len(LEVELS)] * len(LEVELS), [0.15] * len(LEVELS), trust)
    for _round in range(_ROUNDS if trust else 0):
        _improve(weights, shapes, size)
    letters = sorted({vote for row in items for vote in row if vote is not None})
    closed = 2 < len(letters) <= MOST_LETTERS and all(len(letter) == 1 for letter in letters)
    if trust and closed and len(items) >= len(letters) ** 2:
        for _pass in range(2):
            weights.confusion = _confusion(weights, items, letters, size)
    return weights


def _pattern(votes: Sequence[Vote]) -> Pattern:
    seen: dict[str, int] = {}
    return tuple(-1 if vote is None else seen.setdefault(vote, len(seen)) for vote in votes)


def _starts(shapes: Mapping[Pattern, int], size: int) -> list[float]:
    """Each member's agreement with the most frequent answer of the others."""
    starts: list[float] = []
    for member in range(size):
        agreed, asked = 2.0, 4.0
        for shape, number in shapes.items():
            others = Counter(group for at, group in enumerate(shape) if at != member and group >= 0)
            if shape[member] < 0 or not others:
                continue
            most = max(others.values())
            leaders = [group for group, votes in others.items() if votes == most]
            asked += number
            agreed += number * (shape[member] in leaders) / len(leaders)
        rate = min(0.97, max(0.1, agreed / asked))
        starts.append(math.log(rate / (1 - rate)))
    return starts


def _right(ability: float, difficulty: float) -> float:
    return 1 / (1 + math.exp(difficulty - ability))


def _posterior(
    shape: Pattern, ability: Sequence[float], mix: Sequence[float], coincidence: Sequence[float]
) -> dict[tuple[int, int], float]:
    """How likely each answer is right at each level, or none of them is (`_NONE`)."""
    groups = [*sorted({group for group in shape if group >= 0}), _NONE]
    found: dict[tuple[int, int], float] = {}
    for level, difficulty in enumerate(LEVELS):
        rights = [_right(each, difficulty) for each in ability]
        for truth in groups:
            likely, wrong, seen = mix[level], 0, Counter[int]()
            for right, group in zip(rights, shape, strict=True):
                if group < 0:
                    continue
                if group == truth:
                    likely *= right
                    continue
                # A wrong answer joins earlier wrong ones at the rate of coincidence, else it is a new one.
                joins = coincidence[level] * seen[group] / wrong if seen[group] else 1 - coincidence[level]
                likely *= (1 - right) * (joins if wrong else 1.0)
                seen[group] += 1
                wrong += 1
            found[truth, level] = likely
    whole = sum(found.values()) or 1.0
    return {key: value / whole for key, value in found.items()}


def _improve(weights: Weights, shapes: Mapping[Pattern, int], size: int) -> None:
    """One round of expectation and maximisation; its work is bounded by the number of patterns, not of items."""
    levels = range(len(LEVELS))
    right = [[0.0] * len(LEVELS) for _ in range(size)]
    asked = [[0.0] * len(LEVELS) for _ in range(size)]
    mix = [1e-9] * len(LEVELS)
    same, pairs = [1.0] * len(LEVELS), [COINCIDENCE_PRIOR] * len(LEVELS)
    for shape, number in shapes.items():
        posterior = _posterior(shape, weights.ability, weights.mix, weights.coincidence)
        for (truth, level), share in posterior.items():
            weight = share * number
            mix[level] += weight
            wrong = Counter(group for group in shape if group >= 0 and group != truth)
            together = sum(wrong.values())
            pairs[level] += weight * together * (together - 1) / 2
            same[level] += weight * sum(n * (n - 1) / 2 for n in wrong.values())
            for member, group in enumerate(shape):
                if group >= 0:
                    asked[member][level] += weight
                    right[member][level] += weight * (group == truth)
    weights.mix = [share / sum(mix) for share in mix]
    weights.coincidence = [min(0.6, max(0.02, same[level] / pairs[level])) for level in levels]
    mean = sum(weights.ability) / size
    weights.ability = [_ability(weights.ability[member], mean, right[member], asked[member]) for member in range(size)]


def _ability(start: float, mean: float, right: Sequence[float], asked: Sequence[float]) -> float:
    """Four steps of Newton's method towards the likeliest ability, with the panel's mean as prior."""
    ability = start
    for _step in range(4):
        slope, curve = (mean - ability) * ABILITY_PRIOR, -ABILITY_PRIOR
        for level, difficulty in enumerate(LEVELS):
            expected = _right(ability, difficulty)
            slope += right[level] - asked[level] * expected
            curve -= asked[level] * expected * (1 - expected)
        ability -= max(-1.0, min(1.0, slope / curve))
    return max(-4.0, min(5.0, ability))


def _confusion(
    weights: Weights, items: Sequence[Sequence[Vote]], letters: Sequence[str], size: int
) -> list[dict[tuple[str, str], float]]:
    """For each member, how much likelier than chance it says one letter where another is right."""
    mistakes: list[dict[tuple[str, str], float]] = [defaultdict(float) for _ in range(size)]
    habit: list[dict[str, float]] = [defaultdict(float) for _ in range(size)]
    truths: list[dict[str, float]] = [defaultdict(float) for _ in range(size)]
    for row, number in Counter(tuple(row) for row in items).items():
        scores = weights.scores(row)
        top = max(scores.values(), default=0.0)
        shares = {vote: math.exp(score - top) for vote, score in scores.items()}
        whole = sum(shares.values())
        for member, vote in enumerate(row):
            for truth, share in shares.items():
                if vote is not None and vote != truth:
                    mistakes[member][truth, vote] += share / whole * number
                    habit[member][vote] += share / whole * number
                    truths[member][truth] += share / whole * number
    kinds, found = len(letters), []
    for member in range(size):
        all_mistakes = sum(habit[member].values()) + CONFUSION_PRIOR
        usual = {letter: (habit[member][letter] + CONFUSION_PRIOR / kinds) / all_mistakes for letter in letters}
        found.append(
            {
                (truth, vote): (kinds - 1)
                * (mistakes[member][truth, vote] + CONFUSION_PRIOR * usual[vote] / (1 - usual[truth]))
                / (truths[member][truth] + CONFUSION_PRIOR)
                for truth in letters
                for vote in letters
                if truth != vote
            }
        )
    return found
