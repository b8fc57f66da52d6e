"""`[moa] worth`: in a share of turns, chosen by chance, counsel is taken and not sent; what came of each turn is kept.

So that `moa worth` can say what counsel is worth to this user. Neither the main model nor the panel learns of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.events import Record

if TYPE_CHECKING:
    from agent.llm.messages import ToolCallPart
    from agent.plugin import TurnState
    from agent.tools.base import ToolResult

KIND = "worth"
"""The kind of what is kept of a turn."""


class Trial:
    """One turn. `withheld` is decided when it is made: nothing that happens in the turn can change it."""

    def __init__(self, preset: str, share: float) -> None:
        from random import SystemRandom  # here: a session without a trial needs none

        self.withheld = SystemRandom().random() < share
        self._preset, self._share = preset, share
        self._errors = 0
        self._wrote = False

    def after_tool(self, call: ToolCallPart, result: ToolResult) -> None:
        """Count what went wrong; whether the turn wrote is what kind of work it was."""
        self._errors += result.is_error or bool(result.exit_code)
        if result.may_change and not result.could_not_run:
            self._wrote = True

    def record(self, turn: TurnState) -> Record:
        """What came of the turn, once it is over."""
        data = {
            "turn": turn.turn,
            "preset": self._preset,
            "withheld": self.withheld,
            "share": self._share,
            "work": "changes" if self._wrote else "answers",
            "status": turn.ending.status if turn.ending is not None else "failed",
            "errors": self._errors,
            "calls": turn.iteration,
        }
        return Record(source="moa", kind=KIND, data=data)
