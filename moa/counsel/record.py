"""A counsel as it is kept: an entry of the result's `counsel` list and of the session, enough to show it, judge it anew and replay it.

`CounselRecord.plain` is the JSON; its keys are public (contracts of `moa run --output-format json`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from agent.events import Cost
from agent.serialize import to_plain
from agent.values import dataclass

_UNKNOWN = Cost(usd=None, lower_bound=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class SeatRecord:
    """A place on the panel: who sat there, and what it was asked to do."""

    slot: str = ""
    model: str = ""
    role: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberRecord:
    """A member's answer. `grade` is its first word, `named` whether it wrote one; `step` is the call that it was asked before."""

    slot: str = "?"
    role: str | None = None
    model_requested: str = ""
    model_served: str = ""
    grade: str | None = None
    named: bool = False
    text: str = ""
    incomplete: bool = False
    step: int = 0
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cost: Cost = _UNKNOWN
    duration_s: float = 0.0
    call_id: str = ""

    @property
    def silent(self) -> bool:
        """Whether it had nothing to add."""
        return self.grade == "nothing"


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedRecord:
    """A member that gave no answer; `kind` is a stable word. `cost` None: an older version kept it not."""

    slot: str = "?"
    model: str = ""
    kind: str = "failed"
    message: str = ""
    status: int | None = None
    cost: Cost | None = None
    call_id: str | None = None
    duration_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LateRecord:
    """An answer to an earlier counsel that joined this one; `step` is the call that it was asked before."""

    slot: str = "?"
    step: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemRecord:
    """Why there is no analysis: a stable word, and a message."""

    kind: str = "failed"
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AggregatorRecord:
    """The calls of the aggregator, what they took together, and what it wrote."""

    model_served: str | None = None
    calls: tuple[str, ...] = ()
    fallback_used: bool = False
    error: ProblemRecord | None = None
    text: str = ""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    duration_s: float = 0.0
    cost: Cost = _UNKNOWN


@dataclass(frozen=True, slots=True, kw_only=True)
class QuoteRecord:
    """A quote of the aggregator's for the point at `path`, looked up in the answer `source`."""

    path: str = ""
    source: str = ""
    quote: str = ""
    verified: bool | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultRecord:
    """One line that a method without a model made of the answers; `claim` is the same without who says it."""

    text: str = ""
    claim: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingRecord:
    """A finding of a review. `held`: agreed, disputed, some, alone, unseen; `notes` are the sides of a dispute. `verified`: its line is in
    the change and says what it quotes; `reason` says why not, or what was put right."""

    path: str = ""
    line: int = 0
    grade: str = ""
    claim: str = ""
    held: str = ""
    holders: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    verified: bool = False
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CounselRecord:
    """A counsel with the call that it was sent with. US dollars and seconds.

    `turn` and `iteration` are that call, `step` the one whose state it looked at, `messages` how many of the history it saw. `points` are
    what went out; `withheld` says why nothing did, `reminds` of which counsel a line was said again. `running` are the slots that were
    still at work. Where no model compared the answers, `results` or the answers that were `chosen` (slots; None: all) stand for them. `task`: what the panel was asked to do (`moa.panel.tasks`). `material` is what it read beside the conversation, `findings`
    what came of it where it was a review.
    """

    id: str = ""
    turn: int | None = None
    iteration: int = 0
    trigger: str = ""
    reason: str = ""
    preset: str = ""
    asked: int = 0
    main: str | None = None
    messages: int | None = None
    panel: tuple[SeatRecord, ...] = ()
    answered: int = 0
    failed: tuple[FailedRecord, ...] = ()
    late: tuple[LateRecord, ...] = ()
    silent: tuple[str, ...] = ()
    severity: str | None = None
    running: tuple[str, ...] = ()
    rung: str | None = None
    analysis: Mapping[str, Any] | None = None
    chosen: tuple[str, ...] | None = None
    results: tuple[ResultRecord, ...] = ()
    guidance: str | None = None
    withheld: str | None = None
    points: tuple[str, ...] = ()
    reminds: str | None = None
    step: int = 0
    duration_s: float = 0.0
    cost: Cost = _UNKNOWN
    members: tuple[MemberRecord, ...] = ()
    aggregator: AggregatorRecord | None = None
    evidence: tuple[QuoteRecord, ...] = ()
    warnings: tuple[str, ...] = ()
    seed: int | None = None
    question: str | None = None
    draft: str | None = None
    task: str = "advise"
    material: str | None = None
    findings: tuple[FindingRecord, ...] = ()
    receipt: Mapping[str, Any] | None = None

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> CounselRecord:
        """A record from its JSON, whoever wrote it: what is missing, or of another kind, is left at its default."""
        from moa.counsel import lenient

        found = lenient.read(cls, data)
        if "step" not in data:  # older versions counted back from the call that it was sent with
            age = data.get("age")
            found = replace(found, step=found.iteration - (age if isinstance(age, int) else 0))
        return found if found.asked else replace(found, asked=found.answered + len(found.failed) + len(found.running))

    def plain(self) -> dict[str, Any]:
        """The JSON."""
        plain: dict[str, Any] = to_plain(self)
        if self.material is None and not self.findings:  # only a review has them
            del plain["material"], plain["findings"]
        # Only some methods of aggregation choose, or make lines of their own.
        if self.chosen is None:
            del plain["chosen"]
        if not self.results:
            del plain["results"]
        return plain

    @property
    def speakers(self) -> tuple[MemberRecord, ...]:
        """The answers that had something to add."""
        return tuple(member for member in self.members if not member.silent)

    @property
    def chosen_answers(self) -> tuple[MemberRecord, ...]:
        """The answers that stand for the panel: those that were chosen, or all that had something to add."""
        return tuple(member for member in self.speakers if self.chosen is None or member.slot in self.chosen)
