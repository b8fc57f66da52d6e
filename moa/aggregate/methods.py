"""The ways of aggregation by name: what each needs, what it asks of members, how it comes to its result, and what is said of it.

A new one is one function and one row here. Nothing here imports a model client: a preset is checked with this table at every start.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from agent.values import dataclass

if TYPE_CHECKING:
    from moa.aggregate.result import Aggregation
    from moa.panel.outcome import Answer


@dataclass(frozen=True, slots=True)
class Method:
    """One way from the panel's answers to a result.

    `settle` does it without a model; None: it takes one (`moa.counsel.analyst`). `decides` members end with a line that can be counted.
    `settled`: whether so many outstanding members can change nothing any more. `warning` is when it is the wrong one.

    What is said of its result, in each face: `mode` is the output mode in a few words; `told` stands in a counsel's line (absent: the
    mode), `why` where a comparison would stand, `lead` before the result where it goes to the main model.
    """

    name: str
    settle: Callable[[Sequence[Answer]], Aggregation] | None = None
    mode: str = ""
    told: str = ""
    why: str = ""
    lead: str = ""
    decides: bool = False
    warning: str = ""
    settled: Callable[[Sequence[Answer], int], bool] | None = None

    @property
    def needs_model(self) -> bool:
        """Whether a model compares the answers."""
        return self.settle is None


def raw(answers: Sequence[Answer]) -> Aggregation:
    """The answers as they are, one hop less. Costs nothing."""
    from moa.aggregate.result import Aggregation

    return Aggregation("raw", note="" if answers else "no answers")


def vote(answers: Sequence[Answer]) -> Aggregation:
    """Count equal decisions, without a model.

    Where each answer stands and when two are the same says `moa.aggregate.short_answer`: numbers by value, letters of a choice, values of
    code, else word by word and not by meaning, which the text says. A tie stays a tie.
    """
    from moa.aggregate.majority import count
    from moa.aggregate.result import Aggregation, Result
    from moa.aggregate.short_answer import find, normal
    from moa.panel.names import display_names
    from moa.panel.quoting import flat

    if not answers:
        return Aggregation("vote", note="no answers")
    names = display_names(answers)
    decisions = [find(answer.text) for answer in answers]
    votes = [normal(decision) for decision in decisions]
    counted = count(votes)
    top = counted.top
    if len(answers) == 1:
        verdict = "One answer, nothing to count"
    elif top == 1:
        verdict = "No two answers end in the same words"
    elif len(counted.leaders) > 1:
        verdict = f"A tie, {' to '.join(str(top) for _ in counted.leaders)} of {len(answers)}"
    else:
        verdict = f"{top} of {len(answers)} end in the same words" + (" (a majority)" if top * 2 > len(answers) else "")
    results = []
    for key, number in counted.ranked:
        holders = [name for name, each in zip(names, votes, strict=True) if each == key]
        said = flat(decisions[votes.index(key)], 300) or "(nothing)"
        results.append(Result(f"{number}: {said} [{', '.join(holders)}]", said))
    lines = [
        f"{verdict} (numbers by value, else word by word, not by meaning):",
        *(f"- {each.text}" for each in results),
    ]
    return Aggregation("vote", text="\n".join(lines), results=tuple(results))


def _vote_stands(answers: Sequence[Answer], outstanding: int) -> bool:
    from moa.aggregate.majority import decided
    from moa.aggregate.short_answer import find, normal

    return decided([normal(find(answer.text)) for answer in answers], outstanding)


METHODS: Mapping[str, Method] = {
    method.name: method
    for method in (
        Method("analysis"),
        Method(
            "raw",
            raw,
            mode="the answers as they are",
            told="not compared",
            why="The answers were not compared: they went to the main model as they are.",
            warning="where the members will contradict each other: nobody compares their answers",
        ),
        Method(
            "vote",
            vote,
            mode="counted by vote",
            why="The answers were counted by vote, and not compared.",
            lead="Their final words, counted, not compared by meaning:",
            decides=True,
            settled=_vote_stands,
            warning="where the answers are more than a number, a letter or a word: they are compared as strings",
        ),
    )
}

LADDER: Mapping[str, str] = {
    "json_schema": "JSON schema",
    "json_object": "JSON object",
    "prompt": "prompted JSON",
    "repair": "prompted JSON, repaired",
    "retry": "prompted JSON, asked again",
}
"""The output modes of a model that compares, as a user reads them."""


def came_by(rung: str | None) -> Method:
    """The method that a result without an analysis came by. One that is not there (a newer version's) is told by its name."""
    found = METHODS.get(rung or "raw")
    return Method(rung or "raw", raw, mode=rung or "") if found is None else found


def output_mode(rung: str | None) -> str | None:
    """How an aggregation came about, as a user reads it."""
    return LADDER.get(rung) or came_by(rung).mode or rung if rung else None
