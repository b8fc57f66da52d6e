"""Arming a preset: whether it can be armed here, and what is said when it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.commands import Said
from agent.errors import UsageError
from agent.process import depth
from agent.text.numbers import plural
from agent.views import MarkdownView
from moa import preflight

if TYPE_CHECKING:
    from moa.armed import Armed
    from moa.preset.preset import Preset


def check(moa: Armed, preset: Preset) -> None:
    """Raises UsageError where a preset can't be armed here, and says which way leads on."""
    try:
        moa.check(preset)
    except UsageError as error:
        if error.kind not in NOT_HERE:
            raise
        remedy = f"{error.remedy}; or /moa, which offers a panel from what is here"
        raise UsageError(error.message, remedy=remedy, kind=error.kind) from None


NOT_HERE = ("missing_key", "unknown_endpoint", "unpriced")
"""Errors that say that a preset wants what this machine has not."""


def armed(moa: Armed, name: str, more: str = "") -> Said:
    """Arm a preset, and say who is on it and who receives what. Raises UsageError; nothing changes then."""
    preset = moa.arm(name)
    assert preset is not None
    hosts = ", ".join(moa.receivers(preset))
    first = f"Counsel is on: `{name}`, {plural(len(preset.members), 'member')}, cadence `{preset.cadence}`."
    lines = [first, f"The conversation goes to: {hosts}.", "`/moa quote` says what it costs."]
    if strangers := preflight.strangers(preset, moa.main()):
        lines.append(f"Whose models these are nobody knows, so they are allowed: {', '.join(strangers)}.")
    if level := depth.depth():
        lines.append(f"But nothing fans out here: this process is inside of a panel ({depth.VARIABLE}={level}).")
    if more:
        lines.append(more)
    return Said(MarkdownView(text="\n\n".join(lines)))
