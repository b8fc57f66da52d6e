"""Before a line is sent that a panel will read: who receives the conversation, so that the user can agree to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.errors import UsageError
from agent.plugin import Disclosure

if TYPE_CHECKING:
    from moa.armed import Armed


def disclosure(moa: Armed, line: str) -> Disclosure | None:
    """What is to be agreed to before a line is sent: nothing without a panel, and anew where the panel's receivers change."""
    words = line.split()
    plans = words[:1] == ["/plan"] and words[1:] not in ([], ["off"]) and words[1:2] != ["go"]
    asks = words[:2] == ["/moa", "ask"] or words[:1] == ["/review"] or plans
    if plans or words[:1] == ["/review"]:
        words.insert(0, "/moa")  # its preset stands where that of /moa ask does
    if line.startswith("!") or (line.startswith("/") and not asks):
        return None  # no turn, or (a path, /goal) not worth a wrong guess: the next message asks
    fused = "" if asks else moa.fused()
    name = fused or moa.armed
    if asks:
        named = words[2][1:] if len(words) > 2 and words[2].startswith("@") else ""
        name = named or moa.armed or moa.settings.preset
    if name is None:
        return None
    try:
        preset = moa.load(name)
    except UsageError:
        return None  # the turn says so, better
    if plans and moa.obstacles(preset):
        return None  # it is not asked, and the approval says so
    hosts = ", ".join(moa.receivers(preset))
    return Disclosure(f"moa {name}: {hosts}", f"/moa quote {name}", "" if asks or fused else "/moa off")
