"""Key sequences that terminals send and Textual does not know: without them Alt+Enter is an Enter, and sends half a message."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, cast

# The table has no public name; Textual 8 reads it for every sequence, on every platform but Windows.
from textual._ansi_sequences import ANSI_SEQUENCES_KEYS
from textual.actions import SkipAction
from textual.binding import Binding, BindingType
from textual.events import Key
from textual.widget import Widget


class Unknown(StrEnum):
    """Keys by their names in bindings."""

    ALT_ENTER = "alt+enter"


SEQUENCES = {
    # Alt as most terminals send it without Kitty's protocol: ESC, and then the key (Textual issue 6378).
    "\x1b\r": Unknown.ALT_ENTER,
    "\x1b\n": Unknown.ALT_ENTER,
}


XTERM_SHIFT_ENTER = "shift+\r"
"""What Textual makes of Shift+Enter in the form of xterm's modifyOtherKeys (`ESC [ 27 ; 2 ; 13 ~`), which tmux sends by default."""


def teach() -> None:
    """Tell Textual of them, but for those that it knows by now. May be called any number of times."""
    table = cast("dict[str, Any]", ANSI_SEQUENCES_KEYS)
    for sequence, key in SEQUENCES.items():
        table.setdefault(sequence, (key,))


def actions(bindings: Iterable[BindingType]) -> dict[str, str]:
    """What each key does, for widgets that act on keys in the order in which they come."""
    return {
        key: binding.action for binding in bindings if isinstance(binding, Binding) for key in binding.key.split(",")
    }


def act(widget: Widget, table: Mapping[str, str], event: Key) -> bool:
    """Do what a key stands for. False where it is not in the table, or has nothing to do just now (SkipAction)."""
    name = next((name for name in event.aliases if name in table), None)
    if name is None:
        return False
    try:
        getattr(widget, f"action_{table[name]}")()
    except SkipAction:
        return False
    return True
