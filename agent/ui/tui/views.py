"""A command's answer as a widget, for each of the five kinds of View. Only MarkdownView, our own prose, is ever read as markup."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.cells import cell_len
from textual import on
from textual.containers import HorizontalScroll, Vertical
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from agent.ui.tui.blocks import Block, Prose, clean
from agent.ui.tui.cells import Fitted, fit, one_line
from agent.ui.tui.markdown import to_blocks
from agent.ui.tui.plot import bars
from agent.ui.tui.tabline import TabLine
from agent.ui.tui.tree import TreeBody
from agent.views import MarkdownView, PlotView, TableView, TabsView, TreeView, View

if TYPE_CHECKING:
    from textual import events
    from textual.app import ComposeResult


def view_widget(view: View) -> Widget:
    """The widget that shows a view, as wide as its parent and as high as it needs."""
    match view:
        case MarkdownView():
            return Prose(to_blocks(view.text))
        case TableView():
            return ViewTable(view)
        case TreeView():
            return TreeBody(view)
        case TabsView():
            return ViewTabs(view)
        case PlotView():
            return ViewPlot(view)


class ViewTable(Vertical):
    """Title, rows, note. The rows scroll sideways where they are wider than the screen; what is prose wraps."""

    DEFAULT_CSS = """
    ViewTable { height: auto; width: 1fr; }
    """

    def __init__(self, view: TableView) -> None:
        super().__init__()
        self._view = view

    def compose(self) -> ComposeResult:
        """What there is of the three."""
        if self._view.title:
            yield Prose([Block(Content.styled(one_line(self._view.title), "bold"))])
        yield Rows(table_content(self._view))
        if self._view.note:
            yield Prose([Block(Content.styled(clean(self._view.note), "italic dim"))])


class Rows(HorizontalScroll):
    """Aligned columns; focused only where there is something to scroll."""

    DEFAULT_CSS = """
    Rows { height: auto; width: 1fr; overflow-y: hidden; overflow-x: auto; scrollbar-size-horizontal: 1; }
    Rows > Static { width: auto; height: auto; text-wrap: nowrap; }
    Rows:focus { background: $surface-lighten-1; }
    """

    def __init__(self, content: Content) -> None:
        super().__init__(can_focus=False)
        self._content = content

    def compose(self) -> ComposeResult:
        """One text."""
        yield Static(self._content)

    def on_resize(self, event: events.Resize) -> None:
        """There is nothing to scroll where all of it is seen."""
        widest = max((line.cell_length for line in self._content.split("\n", allow_blank=True)), default=0)
        self.can_focus = widest > event.size.width


class ViewPlot(Fitted):
    """A bar a line, with its figure."""

    def __init__(self, view: PlotView) -> None:
        super().__init__()
        self._view = view

    def content_for(self, width: int) -> Content:
        """Bars as long as the width allows."""
        view = self._view
        title = one_line(f"{view.title} ({view.unit})" if view.unit else view.title)
        lines = [Content.styled(fit(title, min(width, cell_len(title))), "bold")]
        for label, bar, value in bars(view.bars, width):
            lines.append(Content.assemble(f"{label} ", (bar, "$accent"), (f" {value}", "dim")).truncate(width))
        if not view.bars:
            lines.append(Content.styled("nothing yet", "dim"))
        return Content("\n").join(lines)


class ViewTabs(Vertical):
    """Views behind each other, under a line of titles; one is mounted at a time."""

    DEFAULT_CSS = """
    ViewTabs { height: auto; width: 1fr; }
    ViewTabs > Vertical { height: auto; padding: 1 0 0 1; }
    """

    def __init__(self, view: TabsView) -> None:
        super().__init__()
        self._view = view

    def compose(self) -> ComposeResult:
        """The titles, and the first of the views."""
        yield TabLine([title for title, _inner in self._view.tabs])
        with Vertical():
            if self._view.tabs:
                yield view_widget(self._view.tabs[0][1])

    @on(TabLine.Chosen)
    async def _show(self, message: TabLine.Chosen) -> None:
        message.stop()  # tabs within tabs: each answers to its own line
        holder = self.children[1]
        async with self.batch():
            await holder.remove_children()
            await holder.mount(view_widget(self._view.tabs[message.index][1]))


def table_content(view: TableView) -> Content:
    """A table's heads, a rule, and its rows as text. Cells are literal; a line break in one is a blank."""
    rows = [[one_line(cell) for cell in row[: len(view.columns)]] for row in view.rows]
    for row in rows:
        row += [""] * (len(view.columns) - len(row))
    heads = [one_line(head) for head in view.columns]
    sizes = [max(cell_len(cell) for cell in column) for column in zip(heads, *rows, strict=True)] if heads else []
    align = view.align.ljust(len(heads), "l")

    def line(cells: list[str]) -> str:
        parts = (fit(cell, size, right=side == "r") for cell, size, side in zip(cells, sizes, align, strict=False))
        return "  ".join(parts).rstrip()

    lines: list[Content] = []
    if any(heads):
        lines.append(Content.styled(line(heads), "bold dim"))
        lines.append(Content.styled("  ".join("─" * size for size in sizes), "dim"))
    lines += [Content(line(row)) for row in rows]
    if not rows:
        lines.append(Content.styled("nothing yet", "dim"))
    return Content("\n").join(lines)
