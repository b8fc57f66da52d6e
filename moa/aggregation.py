"""What became of a panel's answers, and the two ways to it that need no model: as they are, or by vote."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from moa.names import display_names
from moa.quoting import flat

if TYPE_CHECKING:
    from agent.llm.stream import Usage
    from moa.analysis import Analysis, EvidenceCheck
    from moa.outcome import Answer

Rung = Literal["json_schema", "json_object", "prompt", "repair", "retry", "raw", "vote"]


@dataclass(frozen=True, slots=True)
class Aggregation:
    """What became of the answers.

    `analysis` names models, not labels; it is None on the rungs raw and vote. `text` is what the aggregator wrote (for a vote, the
    count in words). `calls` are the ids of its calls, `usage` and `cost_nano` their sums (None: a part is unknown). `error` says why
    there is no analysis although one was wanted: a stable word and a message. `note` explains a rung that is no failure.
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
    note: str = ""


def raw(answers: Sequence[Answer]) -> Aggregation:
    """The answers as they are, one hop less. Costs nothing."""
    return Aggregation("raw", note="" if answers else "no answers")


def vote(answers: Sequence[Answer]) -> Aggregation:
    """Count equal decisions, without a model.

    An answer's decision is its last line that begins with `Decision:`, `Verdict:`, `Answer:` or the like, else its last line. Decisions
    are compared after taking case, punctuation and mark-up away: as strings, not by meaning, and the text says so. A tie stays a tie.
    """
    if not answers:
        return Aggregation("vote", note="no answers")
    names = display_names(answers)
    decisions = [_decision(answer.text) for answer in answers]
    groups = Counter(_normal(decision) for decision in decisions)
    ranked = groups.most_common()
    leaders = [key for key, count in ranked if count == ranked[0][1]]
    top = ranked[0][1]
    if len(answers) == 1:
        verdict = "One answer, nothing to count"
    elif top == 1:
        verdict = "No two answers end in the same words"
    elif len(leaders) > 1:
        verdict = f"A tie, {' to '.join(str(top) for _ in leaders)} of {len(answers)}"
    else:
        verdict = f"{top} of {len(answers)} end in the same words" + (" (a majority)" if top * 2 > len(answers) else "")
    lines = [f"{verdict} (compared word by word, not by meaning):"]
    for key, count in ranked:
        holders = [name for name, decision in zip(names, decisions, strict=True) if _normal(decision) == key]
        said = next(decision for decision in decisions if _normal(decision) == key)
        lines.append(f"- {count}: {flat(said, 300) or '(nothing)'} [{', '.join(holders)}]")
    return Aggregation("vote", text="\n".join(lines))


_DECISION = re.compile(r"(?i)^\W*(?:final\s+)?(?:decision|verdict|answer|recommendation|conclusion)\W*:\W*(.*)$")


def _decision(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        return ""
    named = [found[1] for line in lines if (found := _DECISION.match(line)) and found[1].strip()]
    return (named or lines)[-1].strip()


def _normal(decision: str) -> str:
    return " ".join(re.findall(r"[^\W_]+(?:[./:-][^\W_]+)*", decision.casefold()))
