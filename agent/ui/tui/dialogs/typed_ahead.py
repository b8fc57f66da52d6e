"""Keys that were on their way before a dialog could be read."""

from __future__ import annotations

from time import monotonic
from typing import Any

from textual import events
from textual.app import App

from agent.ui.asking import SILENCE_S
from agent.ui.tui.composer.composer import Composer


class TypedAhead:
    """From the moment it is made, and from each key that comes too soon, keys mean nothing for a while; their text is the composer's."""

    def __init__(self) -> None:
        self._until = monotonic() + SILENCE_S

    def keeps(self, event: events.Key, app: App[Any]) -> bool:
        """Whether a key came too soon; nobody else gets it then. Esc is never too soon: it agrees to nothing."""
        if monotonic() >= self._until or event.key == "escape":
            return False
        self._until = monotonic() + SILENCE_S
        event.stop()
        event.prevent_default()
        if event.is_printable and event.character:
            app.query_one(Composer).editor.insert(event.character)
        return True
