"""A whole text on a screen of its own, however long it is. It is drawn line by line, so a megabyte costs what is seen of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import Footer, Input, Static, TextArea
from textual.widgets.text_area import Selection

from agent.text.numbers import plural
from agent.ui.tui.text.blocks import clean

FOLD = 500
"""Characters after which a line is folded: one endless line would be laid out whole at every key."""
MOST_WRAPPED = 2_000_000
"""Characters of a text whose lines are wrapped: a million take a quarter of a second of the processor."""


class Pages(TextArea):
    """The text: read-only, with the keys of a pager."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash,ctrl+f", "screen.search", "Search"),
        Binding("n", "screen.find(1)", "Next"),
        Binding("N", "screen.find(-1)", "Previous"),
        Binding("space", "cursor_page_down", "Page down", show=False),
        Binding("b", "cursor_page_up", "Page up", show=False),
        Binding("g", "screen.edge(0)", "Top"),
        Binding("G", "screen.edge(1)", "End"),
    ]


class FullText(Screen[None]):
    """Read-only, selectable, searched with `/`, left with Escape. `at_end`: its end is shown first."""

    DEFAULT_CSS = """
    FullText Pages, FullText Pages:focus { border: none; padding: 0 1; }
    FullText Input { display: none; height: 1; border: none; padding: 0 1; background: $boost; }
    FullText.-searching Input { display: block; }
    FullText #found { display: none; height: 1; padding: 0 1; color: $text-muted; }
    FullText.-found #found { display: block; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "Back"),
        Binding("q,f,ctrl+o", "dismiss", "Back", show=False),
    ]

    def __init__(self, text: str, *, at_end: bool = False) -> None:
        super().__init__()
        self._lines = _folded(clean(text))
        self._wraps = len(text) <= MOST_WRAPPED
        self._at_end = at_end
        self._query = ""

    def compose(self) -> ComposeResult:
        """The text, what is searched for, and the keys."""
        yield Pages("\n".join(self._lines), read_only=True, soft_wrap=self._wraps, show_line_numbers=False)
        yield Static(id="found", markup=False)
        yield Input(placeholder="search; Enter finds the next one", select_on_focus=True)
        yield Footer()

    def on_mount(self) -> None:
        """The keys are the text's."""
        self.query_one(Pages).focus()
        if self._at_end:
            self.call_after_refresh(self.action_edge, 1)

    # Keys

    def action_search(self) -> None:
        """Type what is searched for."""
        self.add_class("-searching")
        self.query_one(Input).focus()

    def action_back(self) -> None:
        """Out of the search, or of the text."""
        if not self.has_class("-searching"):
            self.dismiss()
            return
        self.remove_class("-searching")
        self.query_one(Pages).focus()

    def action_edge(self, end: int) -> None:
        """To the first line, or the last."""
        pages = self.query_one(Pages)
        pages.move_cursor(pages.document.end if end else (0, 0))
        pages.scroll_to(x=0, animate=False)

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self._query = event.value.casefold()
        self.action_back()
        self.action_find(1)

    def action_find(self, direction: int) -> None:
        """Mark the next place, or the one before; around the ends."""
        if not self._query:
            self.action_search()
            return
        places = list(self._places())
        pages = self.query_one(Pages)
        self.add_class("-found")
        if not places:
            self.query_one("#found", Static).update(f"{self._query!r} is nowhere in this text")
            return
        here = min(pages.selection)
        if direction > 0:
            number = next((at for at, place in enumerate(places) if place > here), 0)
        else:
            number = next((at for at in range(len(places) - 1, -1, -1) if places[at] < here), len(places) - 1)
        row, column = places[number]
        pages.selection = Selection((row, column), (row, column + len(self._query)))
        pages.scroll_cursor_visible(center=True)
        told = f"{number + 1} of {plural(len(places), 'place')} with {self._query!r} · n next · N previous"
        self.query_one("#found", Static).update(told)

    def _places(self) -> Iterator[tuple[int, int]]:
        for row, line in enumerate(self._lines):
            folded = line.casefold()
            column = folded.find(self._query)
            while column >= 0:
                yield row, column
                column = folded.find(self._query, column + len(self._query))


def _folded(text: str) -> list[str]:
    lines: list[str] = []
    for line in text.split("\n"):
        lines += [line[start : start + FOLD] for start in range(0, len(line), FOLD)] or [""]
    return lines
