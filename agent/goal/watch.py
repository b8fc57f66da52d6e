"""What is seen of a goal's turns between two verdicts: the record for the judge, and whether the work goes in circles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.goal.evidence import Evidence
from agent.loop.stuck import Stuck, Watch

if TYPE_CHECKING:
    from agent.llm.messages import ToolCallPart
    from agent.tools.base import ToolResult

SAME_RESULT = 3
"""Looking at the same thing twice is work; so many times is a circle."""


class TurnWatch:
    """Lives as long as the program works on a goal; `begin` marks a turn."""

    def __init__(self) -> None:
        self.evidence = Evidence()
        self._watch = Watch()
        self._sign: Stuck | None = None
        self._calls = 0
        self._reply: int | None = None
        self._gate: int | None = None

    def begin(self) -> None:
        """A turn begins."""
        self._sign, self._calls = None, 0

    def saw(self, call: ToolCallPart, result: ToolResult) -> None:
        """A tool call has ended."""
        self._calls += 1
        self.evidence.add(call, result)
        sign = self._watch.saw(call.name, call.arguments, result.text, is_error=result.is_error, change=result.change)
        if sign is not None and (sign.kind != "same_result" or sign.times >= SAME_RESULT):
            self._sign = sign

    def circles(self, reply: str) -> str:
        """How the turn that ends with this reply went in circles, in words; empty where it did not."""
        before, self._reply = self._reply, hash(" ".join(reply.split()))
        if self._sign is not None:
            return self._sign.words
        if not self._calls and before == self._reply:
            return "the same reply again, and no tool was used"
        return ""

    def same_gate(self, shape: str | None) -> bool:
        """Whether a gate failed as it did in the turn before; None: none failed."""
        before, self._gate = self._gate, None if shape is None else hash(shape)
        return shape is not None and before == self._gate
