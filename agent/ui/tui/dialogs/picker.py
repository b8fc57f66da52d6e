"""Choosing one of a list by typing: the list with a filter above it, and a dialog around both (sessions, themes, models)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.cells import cell_len
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.geometry import Region, Size
from textual.message import Message
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from agent.text.cleaning import harmless
from agent.ui.fuzzy import Match, rank
from agent.ui.tui.text.cells import MOST_LABEL, hanging

MOST_OF_SCREEN = 0.45
"""Of the screen's height, for the rows of a list."""
AROUND = 10
"""Lines of a dialog beside the rows: its frame, title, filter and keys."""
MOST = 200
"""Rows shown at once; typing reaches the others."""


@dataclass(frozen=True, slots=True)
class Item:
    """One choice: what is returned, its line, and a fainter note behind it. Both are literal text."""

    id: str
    label: str
    note: str = ""


class Options(OptionList):
    """A list whose marked row is in view, also where it is what it stands in that scrolls."""

    def scroll_to_highlight(self, top: bool = False) -> None:
        """Called when another row is marked."""
        super().scroll_to_highlight(top)
        self.call_after_refresh(self._reveal)

    def on_resize(self) -> None:
        """A smaller screen must not hide what Enter would take."""
        self.call_after_refresh(self._reveal)

    def _reveal(self) -> None:
        row = self.highlighted
        outer = next((each for each in self.ancestors if isinstance(each, Widget) and each.allow_vertical_scroll), None)
        if row is None or outer is None or row not in self._index_to_line:
            return
        top = self.region.y - self.scroll_offset.y + self._index_to_line[row] - outer.region.y + outer.scroll_offset.y
        outer.scroll_to_region(Region(0, top, 1, self._heights[row]), animate=False)


KEYS_LIST = "↑↓ choose · Enter takes it · Esc not now"


class Chooser(Vertical):
    """A filter and a list. Typing narrows, up and down move, Enter chooses: the focus stays in the filter."""

    DEFAULT_CSS = """
    Chooser { height: auto; }
    Chooser > Input { border: none; height: 1; padding: 0; background: $boost; margin-bottom: 1; }
    Chooser > OptionList { height: auto; padding: 0; background: transparent; }
    Chooser > OptionList, Chooser > OptionList:focus { border: none; }
    Chooser > Input:focus { border: none; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,ctrl+n", "move('cursor_down')", "Next", show=False),
        Binding("up,ctrl+p", "move('cursor_up')", "Previous", show=False),
        Binding("pagedown", "move('page_down')", "Page down", show=False),
        Binding("pageup", "move('page_up')", "Page up", show=False),
    ]

    @dataclass
    class Chosen(Message):
        """Enter, or a click."""

        id: str

    @dataclass
    class Highlighted(Message):
        """The cursor is on this one; None where nothing matches."""

        id: str | None

    def __init__(
        self, items: Sequence[Item], *, filter: bool = True, at: str | None = None, id: str | None = None
    ) -> None:
        super().__init__(id=id)
        self.items = tuple(items)
        self._at = at
        self._filter = filter
        self._found: list[tuple[Item, Match]] = []
        self._width = 0

    def compose(self) -> ComposeResult:
        """The filter (where there is much to choose from) and the list."""
        if self._filter:
            yield Input(placeholder="type to narrow", select_on_focus=False)
        yield Options(markup=False)

    def on_mount(self) -> None:
        """Show everything, with the cursor where it was asked for."""
        self._show("")
        options = self.query_one(OptionList)
        options.styles.max_height = self._most_rows(self.app.size.height)
        ids = [item.id for item in self.items]
        if self._at in ids:
            options.highlighted = ids.index(self._at)
        if self._filter:
            options.can_focus = False

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """No more than the list may have: what stands below it would be out of the screen."""
        most = self._most_rows(viewport.height) + (2 if self._filter else 0)
        return min(super().get_content_height(container, viewport, width), most)

    def _most_rows(self, height: int) -> int:
        """How many lines the list may have on a screen of that height."""
        most = int(height * MOST_OF_SCREEN)
        return max(2, min(most, int(height * 0.9) - AROUND)) if self._filter else most

    def focus_first(self) -> None:
        """Give the keyboard to it."""
        (self.query_one(Input) if self._filter else self.query_one(OptionList)).focus()

    def action_move(self, action: str) -> None:
        """Move the list's cursor."""
        getattr(self.query_one(OptionList), f"action_{action}")()

    def _show(self, query: str) -> None:
        found = self._found = rank(query, self.items, MOST, key=lambda item: f"{item.label} {item.note}")
        options = self.query_one(OptionList)
        options.clear_options()
        options.add_options(Option(row, id=item.id) for row, (item, _) in zip(self._rows(), found, strict=True))
        if found:
            options.highlighted = 0
        else:
            options.add_option(Option(Content.styled("nothing matches", "dim"), disabled=True))
            self.post_message(self.Highlighted(None))

    def _rows(self) -> list[Content]:
        column = min(MOST_LABEL, max((cell_len(item.label) for item in self.items if item.note), default=0))
        return [_line(item, hit.positions, column, self._width) for item, hit in self._found]

    def on_resize(self) -> None:
        """Notes are laid out for the width that there is."""
        self.query_one(OptionList).styles.max_height = self._most_rows(self.app.size.height)
        if (width := self.size.width - 2) != self._width and width > 0:  # a scrollbar's room is left free
            self._width = width
            options = self.query_one(OptionList)
            for index, row in enumerate(self._rows()):
                options.replace_option_prompt_at_index(index, row)

    @on(Input.Changed)
    def _narrow(self, event: Input.Changed) -> None:
        event.stop()
        self._show(event.value)

    @on(Input.Submitted)
    def _enter(self, event: Input.Submitted) -> None:
        event.stop()
        self.query_one(OptionList).action_select()

    @on(OptionList.OptionHighlighted)
    def _pass_highlight(self, event: OptionList.OptionHighlighted) -> None:
        event.stop()
        self.post_message(self.Highlighted(event.option.id))

    @on(OptionList.OptionSelected)
    def _pass_choice(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        if event.option.id is not None:
            self.post_message(self.Chosen(event.option.id))


def _line(item: Item, positions: tuple[int, ...], column: int, width: int) -> Content:
    label = harmless(item.label).replace("\n", " ")
    content = Content(label)
    for position in positions:
        if position < len(label):
            content = content.stylize("bold underline", position, position + 1)
    note = harmless(item.note).replace("\n", " ")
    return hanging(content, note, column, width)


class Picker(ModalScreen[str | None]):
    """A dialog with a title and a `Chooser`; the result is an item's id, or None for Esc. `filter`: it narrows by typing."""

    DEFAULT_CSS = """
    Picker { align: center middle; }
    Picker > Vertical {
        width: 90%; max-width: 90; height: auto; max-height: 90%;
        padding: 1 2; background: $surface; border: round $primary;
    }
    Picker .title { text-style: bold; margin-bottom: 1; }
    Picker .keys { color: $text-muted; margin-top: 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", "Back")]

    def __init__(self, title: str, items: Sequence[Item], *, at: str | None = None, filter: bool = True) -> None:
        super().__init__()
        self._title = title
        self._filter = filter
        self._items = items
        self._at = at

    def compose(self) -> ComposeResult:
        """Title and chooser."""
        with Vertical():
            yield Static(self._title, classes="title", markup=False)
            yield Chooser(self._items, at=self._at, filter=self._filter)
            yield Static(KEYS_LIST, classes="keys", markup=False)

    def on_mount(self) -> None:
        """The keyboard goes to the filter."""
        for items in self.query(Chooser):  # none where something was chosen before it was there
            items.focus_first()

    @on(Chooser.Chosen)
    def _chosen(self, event: Chooser.Chosen) -> None:
        self.dismiss(event.id)
