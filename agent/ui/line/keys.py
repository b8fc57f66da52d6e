"""The keys of line mode."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from prompt_toolkit.application.current import get_app
from prompt_toolkit.filters import Condition
from prompt_toolkit.key_binding import KeyBindings
from prompt_toolkit.keys import Keys

if TYPE_CHECKING:
    from prompt_toolkit.key_binding import KeyPressEvent


FUNCTION_KEYS = tuple(f"f{number}" for number in range(5, 11))


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

    @property
    def answering(self) -> bool:
        """A question is open: what is typed is its answer."""
        ...

    def steer(self, text: str) -> None:
        """Ctrl+S: say it to the running turn."""
        ...

    def next_mode(self) -> None:
        """Shift+Tab: the next approval mode."""
        ...

    def command(self, line: str, then: str = "") -> None:
        """A key stands for a command; `then` is put into the prompt."""
        ...

    def whole(self) -> None:
        """Ctrl+O: print the whole transcript."""
        ...

    def pressed(self, key: str) -> None:
        """A function key that may be some command's."""
        ...


def bindings(verbs: Verbs, *, pasted: Callable[[str], None] = lambda _text: None) -> KeyBindings:
    """Enter sends, Ctrl+J and Alt+Enter (or a backslash at the end) begin a new line, Esc stops, Ctrl+C clears, Ctrl+S steers.

    Shift+Tab goes through the approval modes, Esc Esc leads to earlier messages, Ctrl+O prints all of the transcript, `?` is the help.
    `pasted` hears of each paste.
    """
    keys = KeyBindings()
    add = keys.add
    busy = Condition(lambda: verbs.busy)
    free = Condition(lambda: not verbs.answering)
    empty = Condition(lambda: not get_app().current_buffer.text)

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

    @add("escape", "escape", filter=free & ~busy)
    def _back(event: KeyPressEvent) -> None:
        verbs.command("/undo list", "/undo ")

    @add("s-tab", filter=free)
    def _mode(event: KeyPressEvent) -> None:
        verbs.next_mode()

    @add("c-o", filter=free)
    def _whole(event: KeyPressEvent) -> None:
        verbs.whole()

    @add("?", filter=free & empty)
    def _help(event: KeyPressEvent) -> None:
        verbs.command("/help")

    @add(Keys.BracketedPaste)
    def _paste(event: KeyPressEvent) -> None:
        pasted(event.data)
        event.current_buffer.insert_text(event.data.replace("\r\n", "\n").replace("\r", "\n"))

    @add("c-c")
    def _interrupt(event: KeyPressEvent) -> None:
        if event.current_buffer.text:
            event.current_buffer.text = ""  # a reset alone tells nobody of the change
            event.current_buffer.reset()
        else:
            verbs.interrupt()

    @add("c-s", filter=busy)
    def _steer(event: KeyPressEvent) -> None:
        text = event.current_buffer.text
        if text.strip():
            event.current_buffer.reset(append_to_history=True)
            verbs.steer(text)

    for name in FUNCTION_KEYS:

        @add(name)
        def _function_key(event: KeyPressEvent, name: str = name) -> None:
            verbs.pressed(name)

    return keys
