"""What a seat on the panel came back with."""

from __future__ import annotations

from dataclasses import dataclass

from agent.llm.stream import Usage


@dataclass(frozen=True, slots=True)
class Answer:
    """A member's advice. `step` is the main-model call it was given for; `incomplete` marks one that was cut off."""

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
