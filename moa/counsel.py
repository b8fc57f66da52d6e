"""What one counsel came to: a value that is filled from the panel to the guidance."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from agent.llm.money import Total

if TYPE_CHECKING:
    from agent.llm.accounting import CallContext
    from agent.llm.messages import Message
    from agent.llm.request import ModelRef
    from moa.aggregator import Aggregation
    from moa.cadence import Decision
    from moa.outcome import Answer, Failure
    from moa.preset import Member


@dataclass(slots=True)
class Counsel:
    """What one counsel came to. `step` is the main-model call whose state it looked at. Seconds; nano-dollars inside `cost`.

    `members` are the seats of the panel, `running` the slots that were still at work. `calling` is whose account it was on, `main` the model that acted, `view` the conversation as the
    aggregator saw it: what a new analysis of the same answers (`/moa again`) needs.
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
    view: tuple[Message, ...] = ()
    answers: tuple[Answer, ...] = ()
    failures: tuple[Failure, ...] = ()
    late: tuple[str, ...] = ()
    running: tuple[str, ...] = ()
    aggregation: Aggregation | None = None
    seed: int = 0
    draft: str | None = None
    question: str | None = None
    warnings: list[str] = field(default_factory=list)
    cost: Total = field(default_factory=Total)
    duration_s: float = 0.0

    def guidance(self, *, step: int, results_since: int = 0, brief: bool = False) -> str | None:
        """The private text for the main model's call number `step`; None where there is nothing to say.

        `results_since` counts the tool results that came in after it was taken. `brief`: as one line.
        """
        if self.aggregation is None or not self.answers:
            return None
        from moa import guidance

        if brief:
            return guidance.one_line(
                self.aggregation, self.answers, step_taken=self.step, step_now=step, results_since=results_since
            )
        return guidance.render(
            self.aggregation,
            self.answers,
            self.failures,
            step_taken=self.step,
            step_now=step,
            results_since=results_since,
            running=[str(member.model) for member in self.members if member.slot in self.running],
        )
