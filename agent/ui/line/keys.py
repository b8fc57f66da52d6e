"""The keys of line mode."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from prompt_toolkit.filters import Condition
from prompt_toolkit.key_binding import KeyBindings

if TYPE_CHECKING:
    from prompt_toolkit.key_binding import KeyPressEvent


class Verbs(Protocol):
    """What keys set off."""

    @property
    def busy(self) -> bool:
        """Something runs or waits, so Esc has something to stop."""
        ...

    def stop(self) -> None:
        """Esc: stop what runs, give back what waits."""
        ...

    def interrupt(self) -> None:
        """Ctrl+C with nothing typed: stop what runs; else leave, the second time."""
        ...

    def steer(self, text: str) -> None:
        """Ctrl+S: say it to the running turn."""
        ...


def bindings(verbs: Verbs) -> KeyBindings:
    """Enter sends, Ctrl+J and Alt+Enter (or a backslash at the end) begin a new line, Esc stops, Ctrl+C clears, Ctrl+S steers."""
    keys = KeyBindings()
    add = keys.add
    busy = Condition(lambda: verbs.busy)

    @add("enter")
    def _enter(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if buffer.document.text_before_cursor.endswith("\\"):
            buffer.delete_before_cursor()
            buffer.insert_text("\n")
            return
        buffer.validate_and_handle()

    @add("c-j")
    @add("escape", "enter")
    def _newline(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    @add("escape", filter=busy)
    def _escape(event: KeyPressEvent) -> None:
        verbs.stop()

    @add("c-c")
    def _interrupt(event: KeyPressEvent) -> None:
        if event.current_buffer.text:
            event.current_buffer.reset()
        else:
            verbs.interrupt()

    @add("c-s", filter=busy)
    def _steer(event: KeyPressEvent) -> None:
        text = event.current_buffer.text
        if text.strip():
            event.current_buffer.reset(append_to_history=True)
            verbs.steer(text)

    return keys
