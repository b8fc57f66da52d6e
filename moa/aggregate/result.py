"""What became of a panel's answers, and the two ways to it that need no model: as they are, or by vote."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from moa.aggregate.majority import count
from moa.aggregate.short_answer import find, normal
from moa.panel.names import display_names
from moa.panel.quoting import flat

if TYPE_CHECKING:
    from agent.llm.stream import Usage
    from moa.aggregate.analysis import Analysis, EvidenceCheck
    from moa.panel.outcome import Answer

Rung = Literal["json_schema", "json_object", "prompt", "repair", "retry", "raw", "vote"]

OUTPUT_MODES: dict[str, str] = {
    "json_schema": "JSON schema",
    "json_object": "JSON object",
    "prompt": "prompted JSON",
    "repair": "prompted JSON, repaired",
    "retry": "prompted JSON, asked again",
    "raw": "the answers as they are",
    "vote": "counted by vote",
}
"""The rungs, as a user reads them."""


@dataclass(frozen=True, slots=True)
class Aggregation:
    """What became of the answers.

    `analysis` names models, not labels; it is None on the rungs raw and vote. `text` is what the aggregator wrote (for a vote, the
    count in words). `calls` are the ids of its calls, `usage` and `cost_nano` their sums (None: a part is unknown). `error` says why
    there is no analysis although one was wanted: a stable word and a message. `note` explains a rung that is no failure,
    `kinship` says whose relatives the aggregator has compared.
    """

    rung: Rung
    analysis: Analysis | None = None
    text: str = ""
    model_served: str | None = None
    evidence: tuple[EvidenceCheck, ...] = ()
    calls: tuple[str, ...] = ()
    cost_nano: int | None = 0
    usage: Usage | None = None
    duration_s: float = 0.0
    error: tuple[str, str] | None = None
    fallback_used: bool = False
    warnings: tuple[str, ...] = ()
    kinship: str = ""
    note: str = ""


def raw(answers: Sequence[Answer]) -> Aggregation:
    """The answers as they are, one hop less. Costs nothing."""
    return Aggregation("raw", note="" if answers else "no answers")


def vote(answers: Sequence[Answer]) -> Aggregation:
    """Count equal decisions, without a model.

    Where each answer stands and when two are the same says `moa.aggregate.short_answer`: numbers by value, letters of a choice, values of
    code, else word by word and not by meaning, which the text says. A tie stays a tie.
    """
    if not answers:
        return Aggregation("vote", note="no answers")
    names = display_names(answers)
    decisions = [find(answer.text) for answer in answers]
    votes = [normal(decision) for decision in decisions]
    counted = count(votes)
    ranked, leaders, top = counted.ranked, counted.leaders, counted.top
    if len(answers) == 1:
        verdict = "One answer, nothing to count"
    elif top == 1:
        verdict = "No two answers end in the same words"
    elif len(leaders) > 1:
        verdict = f"A tie, {' to '.join(str(top) for _ in leaders)} of {len(answers)}"
    else:
        verdict = f"{top} of {len(answers)} end in the same words" + (" (a majority)" if top * 2 > len(answers) else "")
    lines = [f"{verdict} (numbers by value, else word by word, not by meaning):"]
    for key, number in ranked:
        holders = [name for name, each in zip(names, votes, strict=True) if each == key]
        said = decisions[votes.index(key)]
        lines.append(f"- {number}: {flat(said, 300) or '(nothing)'} [{', '.join(holders)}]")
    return Aggregation("vote", text="\n".join(lines))
