"""What a seat on the panel came back with."""

from __future__ import annotations

from agent.llm.stream import Usage
from agent.values import dataclass
from moa.panel.grades import Grade


@dataclass(frozen=True, slots=True)
class Answer:
    """A member's advice. `step` is the main-model call it was given for; `incomplete` marks one that was cut off.

    `grade` is its first word, where one was asked for, and `text` what follows that word. An answer of the grade `nothing` has nothing to
    add; its `text` is what the model wrote all the same. `named`: the model did write one of the four words.
    """

    slot: str
    model_requested: str
    model_served: str
    text: str
    call_id: str
    step: int
    role: str | None = None
    incomplete: bool = False
    usage: Usage | None = None
    cost_nano: int | None = None
    duration_s: float = 0.0
    grade: Grade = "note"
    named: bool = False

    @property
    def silent(self) -> bool:
        """Whether the member had nothing to add."""
        return self.grade == "nothing"


@dataclass(frozen=True, slots=True)
class Failure:
    """A member that gave none: `kind` is a stable word (a ModelError's kind, `cancelled`, `budget`, `timed_out`)."""

    slot: str
    model_requested: str
    kind: str
    message: str
    status: int | None = None
    call_id: str | None = None
    cost_nano: int | None = None
    duration_s: float = 0.0


Outcome = Answer | Failure
