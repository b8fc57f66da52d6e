"""What became of a panel's answers, as a value. How it comes about says `moa.aggregate.methods`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from agent.llm.stream import Usage
    from moa.aggregate.analysis import Analysis, EvidenceCheck


class Result(NamedTuple):
    """One line that a method without a model makes of the answers. `claim` is the same without who says it and how often."""

    text: str
    claim: str


@dataclass(frozen=True, slots=True)
class Aggregation:
    """What became of the answers.

    `rung` is how: the output mode of a model that compared them (`moa.aggregate.methods.LADDER`), or the name of a method. `analysis`
    names models, not labels; it is None where no model compared them. Then `results` stand for the answers, or, where there are none,
    the answers that were `chosen` (slots; None: all of them). `text` is what the aggregator wrote (for a vote, the
    count in words). `calls` are the ids of its calls, `usage` and `cost_nano` their sums (None: a part is unknown). `error` says why
    there is no analysis although one was wanted: a stable word and a message. `note` explains a rung that is no failure,
    `kinship` says whose relatives the aggregator has compared.
    """

    rung: str
    analysis: Analysis | None = None
    text: str = ""
    chosen: tuple[str, ...] | None = None
    results: tuple[Result, ...] = ()
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
