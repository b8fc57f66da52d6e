"""What one counsel came to: a value that is filled from the panel to the analysis."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING

from agent.llm.money import Total
from agent.values import dataclass
from moa.panel.tasks import ADVISE

if TYPE_CHECKING:
    from agent.llm.accounting import CallContext
    from agent.llm.request import ModelRef
    from moa.aggregate.result import Aggregation
    from moa.counsel.cadence import Decision
    from moa.panel.briefing import Rendering
    from moa.panel.grades import Grade
    from moa.panel.outcome import Answer, Failure
    from moa.panel.tasks import Task
    from moa.preset.preset import Member


@dataclass(slots=True)
class Counsel:
    """What one counsel came to. `step` is the main-model call whose state it looked at. Seconds; nano-dollars inside `cost`.

    `members` are the seats of the panel, `running` the slots that were still at work. `calling` is whose account it was on, `main` the
    model that acted, `rendering` the conversation as text: what a new analysis of the same answers (`/moa again`) needs. `in_force` are
    the points that the main model had before it when it was taken, oldest first; `blockers_only`: nothing less would have reached it.
    """

    id: str
    preset: str
    step: int
    decision: Decision
    members: tuple[Member, ...]
    calling: CallContext
    main: ModelRef
    messages: int = 0
    """How many messages of the history it looked at."""
    rendering: Rendering | None = None
    in_force: tuple[str, ...] = ()
    blockers_only: bool = False
    answers: tuple[Answer, ...] = ()
    failures: tuple[Failure, ...] = ()
    late: tuple[str, ...] = ()
    running: tuple[str, ...] = ()
    aggregation: Aggregation | None = None
    seed: int = 0
    draft: str | None = None
    question: str | None = None
    task: Task = ADVISE
    """What the panel was asked to do."""
    material: str | None = None
    """What it read beside the conversation: the change that it reviews."""
    warnings: list[str] = field(default_factory=list)
    cost: Total = field(default_factory=Total)
    duration_s: float = 0.0

    @property
    def deep(self) -> bool:
        """Whether the analysis is the product, not a note in the margin."""
        return self.question is not None or self.task.deep

    @property
    def speakers(self) -> tuple[Answer, ...]:
        """The answers that have something to add."""
        return tuple(answer for answer in self.answers if not answer.silent)

    @property
    def chosen(self) -> tuple[Answer, ...]:
        """The answers that stand for the panel: those that the method of aggregation took, or all that have something to add."""
        taken = None if self.aggregation is None else self.aggregation.chosen
        return tuple(answer for answer in self.speakers if taken is None or answer.slot in taken)

    @property
    def silent(self) -> tuple[str, ...]:
        """The slots that had nothing to add."""
        return tuple(answer.slot for answer in self.answers if answer.silent)

    @property
    def grade(self) -> Grade:
        """How much it matters: as the aggregator says, who has read all answers; where none did, the highest of those that stand for the panel."""
        from moa.panel.grades import highest

        analysis = None if self.aggregation is None else self.aggregation.analysis
        if analysis is not None and analysis.severity is not None:
            return analysis.severity
        return highest(answer.grade for answer in self.chosen)
