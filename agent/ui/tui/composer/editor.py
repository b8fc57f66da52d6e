"""The composer's text field: a TextArea that moves by what people see as one character and keeps paste tokens whole."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import ClassVar

from rich.cells import cell_len, set_cell_size, split_graphemes
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import TextArea
from textual.widgets.text_area import Edit, EditResult, Location, Selection

from agent.text.cleaning import harmless
from agent.ui.tui import keyboard
from agent.ui.tui.composer.paste import Pastes, clean

CHORD_S = 1.5
"""Seconds in which Ctrl+E must follow Ctrl+X."""


class Editor(TextArea):
    """Plain text, wrapped, as high as its content. `hint` is grey text behind the cursor that no key can accept."""

    DEFAULT_CSS = """
    Editor {
        height: auto;
        min-height: 1;
        max-height: 100%;
        border: none;
        padding: 0;
        background: transparent;
        scrollbar-size-vertical: 1;
        &:focus { border: none; }
    }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+j,shift+enter,alt+enter", "newline", "New line (also: \\ before Enter)", show=False),
        Binding("ctrl+x", "cut_or_chord", "Cut; Ctrl+X Ctrl+E opens $EDITOR", show=False),
        Binding("ctrl+e", "end_or_chord", "Cursor line end", show=False),
    ]

    class ChordPressed(Message):
        """Ctrl+X Ctrl+E."""

    def __init__(
        self, pastes: Pastes, *, first: Callable[[events.Key], bool] = lambda _key: False, id: str | None = None
    ) -> None:
        keyboard.teach()
        self._first = first
        self.pastes = pastes  # first: the base class places its cursor, and that asks for tokens
        super().__init__(id=id, compact=True, highlight_cursor_line=False, tab_behavior="focus")
        self.hint = ""
        # A blinking cursor is a timer that repaints an idle screen.
        self.cursor_blink = False
        self.match_cursor_bracket = False
        self._chord_until = 0.0
        self.typed_at = 0.0
        """When a key was last pressed here, by `time.monotonic`."""
        self.typed = True
        """All of the text was typed here: none was pasted, recalled or put there."""

    # What is on the screen

    def set_hint(self, hint: str) -> None:
        """Show a hint behind the cursor, cut to what fits on the line; nothing with an empty text."""
        self.hint = hint
        room = self.wrap_width - cell_len(self.line_before_cursor) - 1
        hint = harmless(hint).replace("\n", " ")
        self.suggestion = "" if room < 8 else hint if cell_len(hint) <= room else set_cell_size(hint, room - 1) + "…"

    def update_suggestion(self) -> None:
        """After every edit; the composer sets a new hint where there is one."""
        self.hint = ""
        self.suggestion = ""

    @property
    def line_before_cursor(self) -> str:
        """The cursor's line up to the cursor."""
        row, column = self.cursor_location
        return self.document[row][:column]

    @property
    def line_after_cursor(self) -> str:
        """The cursor's line from the cursor on."""
        row, column = self.cursor_location
        return self.document[row][column:]

    @property
    def at_top(self) -> bool:
        """Whether the cursor is on the first line as it is wrapped."""
        return self.navigator.is_first_wrapped_line(self.cursor_location)

    @property
    def at_bottom(self) -> bool:
        """Whether the cursor is on the last line as it is wrapped."""
        return self.navigator.is_last_wrapped_line(self.cursor_location)

    # One step is one character as people see it, or one token

    def get_cursor_left_location(self) -> Location:
        """Where ← goes, and how far Backspace deletes."""
        row, column = self.cursor_location
        if column == 0:
            return super().get_cursor_left_location()
        return row, next(start for start, end in self._units(row) if start < column <= end)

    def get_cursor_right_location(self) -> Location:
        """Where → goes, and how far Delete deletes."""
        row, column = self.cursor_location
        if column >= len(self.document[row]):
            return super().get_cursor_right_location()
        return row, next(end for start, end in self._units(row) if start <= column < end)

    def action_cursor_right(self, select: bool = False) -> None:
        """Move right. Unlike in its base class a hint is not text to accept."""
        hint, self.suggestion = self.suggestion, ""
        super().action_cursor_right(select)
        self.suggestion = hint if self.cursor_at_end_of_line else ""

    def _units(self, row: int) -> list[tuple[int, int]]:
        line = self.document[row]
        tokens = self.pastes.spans(line)
        spans = [(start, end) for start, end, _ in split_graphemes(line)[0]]
        return tokens + [span for span in spans if not any(start <= span[0] < end for start, end in tokens)]

    def validate_selection(self, selection: Selection) -> Selection:
        """A cursor never rests inside of a token, however it got there."""
        return Selection(self._outside(selection.start), self._outside(selection.end))

    def edit(self, edit: Edit) -> EditResult:
        """Apply an edit; one that would cut a token in two takes all of it."""
        top, bottom = sorted((edit.from_location, edit.to_location))
        if top != bottom:
            top, bottom = self._outside(top, to=0), self._outside(bottom, to=1)
            edit.from_location, edit.to_location = top, bottom
        return super().edit(edit)

    def _outside(self, location: Location, *, to: int | None = None) -> Location:
        """A place that is not inside of a token: its start (0), its end (1), or the nearer of both."""
        row, column = location
        if not 0 <= row < self.document.line_count:
            return location
        for span in self.pastes.spans(self.document[row]):
            if span[0] < column < span[1]:
                return row, span[to] if to is not None else min(span, key=lambda edge: abs(edge - column))
        return location

    # Keys and pastes

    async def _on_key(self, event: events.Key) -> None:
        self.typed_at = time.monotonic()
        # Here, in the order in which keys were pressed: a binding is looked up only when the key has come back to the app, and by then
        # characters typed behind it are in the text (with one read from a slow line or a multiplexer, whole words are).
        action = next((_ACTIONS[name] for name in event.aliases if name in _ACTIONS), None)
        if self._first(event) or (action is not None and await self.app.run_action(action, self)):
            event.stop()
            event.prevent_default()
        elif event.key.startswith("alt+"):
            event.prevent_default()  # Alt+G is a key for somebody above, and no g

    def action_newline(self) -> None:
        """Insert a line break."""
        self._replace_via_keyboard("\n", *self.selection)

    def action_cut_or_chord(self) -> None:
        """Cut what is selected; else wait for Ctrl+E."""
        if not self.selection.is_empty:
            self.action_cut()
            return
        self._chord_until = time.monotonic() + CHORD_S

    def action_end_or_chord(self) -> None:
        """To the end of the line, or behind Ctrl+X into $EDITOR."""
        if time.monotonic() < self._chord_until:
            self._chord_until = 0.0
            self.post_message(self.ChordPressed())
            return
        self.action_cursor_line_end()

    async def _on_paste(self, event: events.Paste) -> None:
        event.prevent_default()
        event.stop()
        self.insert_pasted(event.text)

    def insert_pasted(self, text: str) -> None:
        """Insert a text from the clipboard at the cursor: literal, and as a token where it is long."""
        self.typed = False
        if (result := self._replace_via_keyboard(self.pastes.take(clean(text)), *self.selection)) is not None:
            self.move_cursor(result.end_location)


_ACTIONS = {keyboard.XTERM_SHIFT_ENTER: "newline"} | keyboard.actions([*TextArea.BINDINGS, *Editor.BINDINGS])
