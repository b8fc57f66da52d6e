"""A line of tabs: one widget, one line. It says which was chosen; whoever owns it shows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from rich.cells import cell_len
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.widget import Widget

from agent.ui.tui.text.cells import one_line

if TYPE_CHECKING:
    from textual import events


class TabLine(Widget, can_focus=True):
    """Titles in a row, the chosen one marked; where they don't fit, the line begins so far right that the chosen one is seen."""

    DEFAULT_CSS = """
    TabLine { height: 1; width: 1fr; text-wrap: nowrap; text-overflow: ellipsis; }
    TabLine:focus { background: $surface-lighten-1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "move(-1)", "previous tab", show=False),
        Binding("right", "move(1)", "next tab", show=False),
    ]

    @dataclass
    class Chosen(Message):
        """Another tab was chosen."""

        line: TabLine
        index: int

        @property
        def control(self) -> TabLine:
            """The line it happened on."""
            return self.line

    def __init__(self, titles: Sequence[str], *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.titles = [one_line(title) for title in titles]
        self.chosen = 0

    def entitle(self, titles: Sequence[str]) -> None:
        """Other titles; the tab of the same number stays chosen where there is one. Tells nobody."""
        titles = [one_line(title) for title in titles]
        if titles != self.titles:
            self.titles = titles
            self.chosen = max(0, min(self.chosen, len(titles) - 1))
            self.refresh(layout=False)

    def choose(self, index: int) -> None:
        """Choose a tab; nothing happens where it is chosen already or there is none of that number."""
        if index == self.chosen or not 0 <= index < len(self.titles):
            return
        self.chosen = index
        self.refresh(layout=False)
        self.post_message(self.Chosen(self, index))

    def action_move(self, by: int) -> None:
        """The next tab in a direction, round the corner too."""
        if self.titles:
            self.choose((self.chosen + by) % len(self.titles))

    def _first(self) -> int:
        """The first title to show."""
        room = self.content_size.width or self.app.size.width
        first = 0
        while first < self.chosen and sum(cell_len(t) + 2 for t in self.titles[first : self.chosen + 1]) > room:
            first += 1
        return first

    def render(self) -> Content:
        """The titles from the first that is shown."""
        first = self._first()
        return Content.assemble(
            *(
                (f" {title} ", "bold reverse" if at == self.chosen else "dim")
                for at, title in enumerate(self.titles[first:], first)
            )
        )

    def on_click(self, event: events.Click) -> None:
        """The title under the pointer."""
        at = 0
        for index, title in enumerate(self.titles[(first := self._first()) :], first):
            at += cell_len(title) + 2
            if event.x < at:
                self.choose(index)
                return
