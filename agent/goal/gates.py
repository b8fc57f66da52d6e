"""Gates: shell commands that must exit with 0 before a goal counts as met. They are run anew each time; nothing is remembered."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from agent.tools.base import ToolError

if TYPE_CHECKING:
    from agent.tools.base import ToolResult

RunShell = Callable[[str, float], Awaitable["ToolResult"]]
"""`(command, seconds)`: run a command as the shell tool does, in the same folder and under the same denials and sandbox."""

TAIL = 3_000
"""Characters of a failing gate's output that the main model gets."""


class GateFailure(NamedTuple):
    """A gate that did not pass, and the end of what it said."""

    command: str
    tail: str

    @property
    def shape(self) -> str:
        """The same for failures that differ only in numbers (times, ports, lines)."""
        return re.sub(r"\d+", "#", f"{self.command}\n{self.tail}")


async def run_gates(gates: Sequence[str], shell: RunShell, timeout_s: float) -> GateFailure | None:
    """Run them in order, and return the first that fails; None where all pass. Cancelling ends the one that runs, with all it started."""
    for command in gates:
        try:
            result = await shell(command, timeout_s)
        except ToolError as problem:  # denied, or it can't be started: a gate that can't be asked is not passed
            return GateFailure(command, str(problem))
        if result.is_error:
            text = result.text.strip()
            return GateFailure(command, text if len(text) <= TAIL else f"…{text[-TAIL:]}")
    return None


def acceptable(command: str) -> str | None:
    """Why a text can't be a gate; None where it can."""
    if not command.strip() or "\0" in command:
        return "there is no command in it"
    if command.lstrip().startswith(":"):
        return "it begins with a colon, and looks after a background job instead of running"
    return None
