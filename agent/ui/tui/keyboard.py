"""Key sequences that terminals send and Textual does not know: without them Alt+Enter is an Enter, and sends half a message."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, cast

# The table has no public name; Textual 8 reads it for every sequence, on every platform but Windows.
from textual._ansi_sequences import ANSI_SEQUENCES_KEYS


class Key(StrEnum):
    """Keys by their names in bindings."""

    ALT_ENTER = "alt+enter"


SEQUENCES = {
    # Alt as most terminals send it without Kitty's protocol: ESC, and then the key (Textual issue 6378).
    "\x1b\r": Key.ALT_ENTER,
    "\x1b\n": Key.ALT_ENTER,
}


XTERM_SHIFT_ENTER = "shift+\r"
"""What Textual makes of Shift+Enter in the form of xterm's modifyOtherKeys (`ESC [ 27 ; 2 ; 13 ~`), which tmux sends by default."""


def teach() -> None:
    """Tell Textual of them, but for those that it knows by now. May be called any number of times."""
    table = cast("dict[str, Any]", ANSI_SEQUENCES_KEYS)
    for sequence, key in SEQUENCES.items():
        table.setdefault(sequence, (key,))
