"""A whole text on a screen of its own, however long it is. It is drawn line by line, so a megabyte costs what is seen of it."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import Footer, TextArea

from agent.ui.tui.blocks import clean

FOLD = 500
"""Characters after which a line is folded: one endless line would be laid out whole at every key."""


class FullText(Screen[None]):
    """Read-only, selectable, left with Escape."""

    DEFAULT_CSS = """
    FullText TextArea { border: none; padding: 0 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,f", "dismiss", "Back")]

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = "\n".join(_folded(clean(text)))

    def compose(self) -> ComposeResult:
        """The text, and the keys."""
        yield TextArea(self._text, read_only=True, soft_wrap=False, show_line_numbers=False)
        yield Footer()


def _folded(text: str) -> list[str]:
    lines: list[str] = []
    for line in text.split("\n"):
        lines += [line[start : start + FOLD] for start in range(0, len(line), FOLD)] or [""]
    return lines
