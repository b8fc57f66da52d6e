"""The popup above the composer: completions, or earlier prompts."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len, set_cell_size
from textual.content import Content, Span
from textual.message import Message
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from agent.text.cleaning import harmless
from agent.ui.tui.composer.completion import Choice

ROWS = 8
LABEL_CELLS = 36
"""A command with a long list of arguments must leave room for what it does; the arguments have a hint of their own."""


class Menu(OptionList, can_focus=False):
    """Choices, the typed characters marked in each. The keys are the composer's, so the text field keeps the focus."""

    DEFAULT_CSS = """
    Menu {
        overlay: screen;
        constrain: inside inside;
        display: none;
        width: 100%;
        height: auto;
        border: none;
        padding: 0;
        background: $panel;
        text-wrap: nowrap;
        text-overflow: ellipsis;
        scrollbar-size-vertical: 1;
        & > .option-list--option { padding: 0 1; }
        & > .option-list--option-highlighted {
            color: $block-cursor-foreground;
            background: $block-cursor-background;
            text-style: none;
        }
    }
    """

    class Picked(Message):
        """A choice was clicked."""

        def __init__(self, choice: Choice) -> None:
            super().__init__()
            self.choice = choice

    def __init__(self) -> None:
        super().__init__(markup=False)
        self.choices: Sequence[Choice] = ()

    @property
    def is_open(self) -> bool:
        """Whether it shows."""
        return bool(self.choices)

    @property
    def chosen(self) -> Choice | None:
        """The highlighted choice."""
        return None if self.highlighted is None or not self.choices else self.choices[self.highlighted]

    def open(self, choices: Sequence[Choice], highlighted: int | None) -> None:
        """Show these; with none of them close."""
        if not choices:
            self.close()
            return
        self.choices = choices
        column = min(LABEL_CELLS, self.app.size.width // 2, max(cell_len(choice.label) for choice in choices))
        self.set_options(Option(_line(choice, column)) for choice in choices)
        self.highlighted = highlighted
        rows = min(len(choices), ROWS, max(2, self.app.size.height - 6))
        self.styles.max_height = rows
        # Laid over what is above the composer: opening it moves nothing, and so relays out nothing.
        self.styles.offset = (0, -rows)
        self.display = True

    def close(self) -> None:
        """Hide it."""
        self.choices = ()
        self.display = False

    def move(self, by: int) -> None:
        """Highlight the next choice, or the one before, around the ends."""
        if not self.choices:
            return
        if self.highlighted is None:
            self.highlighted = 0 if by > 0 else len(self.choices) - 1
            return
        self.highlighted = (self.highlighted + by) % len(self.choices)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """A click."""
        event.stop()
        if event.option_index < len(self.choices):
            self.post_message(self.Picked(self.choices[event.option_index]))


def _line(choice: Choice, column: int) -> Content:
    """One choice on one line. Labels are file names, earlier prompts, a plugin's words: never markup."""
    # Character by character, so that positions hold.
    label = "".join(harmless(char) or "·" for char in choice.label.replace("\n", "⏎").replace("\t", " "))
    if choice.detail and cell_len(label) > column:
        label = set_cell_size(label, column - 1) + "…"
    marked = Content(label, [Span(at, at + 1, "bold underline") for at in choice.positions if at < len(label)])
    if not choice.detail:
        return marked
    space = " " * (max(0, column - cell_len(label)) + 2)
    return Content.assemble(marked, space, (harmless(choice.detail), "dim"))
