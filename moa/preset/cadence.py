"""How often counsel is taken: the key `cadence` of a preset."""

from __future__ import annotations

from typing import Literal

from agent.text.numbers import whole_number
from agent.values import dataclass


@dataclass(frozen=True, slots=True)
class Cadence:
    """How often. `n` counts only for `every`."""

    kind: Literal["iteration", "turn", "every", "signal"]
    n: int = 1

    @classmethod
    def parse(cls, text: str) -> Cadence:
        """Raises ValueError for anything but iteration, turn, every:N (N from 1) and signal."""
        if text in ("iteration", "turn", "signal"):
            return cls(text)  # type: ignore[arg-type]
        word, colon, number = text.partition(":")
        if word == "every" and colon and (steps := whole_number(number)):
            return cls("every", steps)
        raise ValueError(f"{text!r} is not a cadence")

    def __str__(self) -> str:
        return f"every:{self.n}" if self.kind == "every" else self.kind
