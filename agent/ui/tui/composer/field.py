"""The frame around the text field: a mark and a colour say what Enter will do."""

from __future__ import annotations

from typing import Literal

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.widgets import Static

from agent.ui.tui.composer.editor import Editor

Mode = Literal["message", "shell", "search"]
MARKS: dict[Mode, str] = {"message": ">", "shell": "$", "search": "?"}


class Field(Horizontal):
    """The editor behind its mark."""

    DEFAULT_CSS = """
    Field {
        height: auto;
        min-height: 3;
        max-height: 40vh;
        border: round $border-blurred;
        padding: 0 1;
        &:focus-within { border: round $border; }
        #mark { width: 2; height: 1; color: $text-muted; }
        &.-shell { border: round $warning; }
        &.-shell #mark { color: $text-warning; text-style: bold; }
        &.-search { border: round $accent; }
        &.-search #mark { color: $text-accent; text-style: bold; }
    }
    """

    def __init__(self, editor: Editor) -> None:
        super().__init__()
        self.editor = editor
        self._mark = Static(MARKS["message"], id="mark", markup=False)

    def compose(self) -> ComposeResult:
        """The mark and the editor."""
        yield self._mark
        yield self.editor

    def show(self, mode: Mode, *, busy: bool) -> None:
        """Show what Enter will do, and in an empty field what can be typed."""
        self.set_class(mode == "shell", "-shell")
        self.set_class(mode == "search", "-search")
        self._mark.update(MARKS[mode], layout=False)
        waiting = "Enter queues, Ctrl+S steers, Esc stops" if busy else "/ commands  @ files  ! shell"
        self.editor.placeholder = "search earlier prompts" if mode == "search" else waiting
