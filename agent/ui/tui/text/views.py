"""A command's answer as a widget, for each kind of View. Only MarkdownView, our own prose, is ever read as markup."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.cells import cell_len
from textual import on
from textual.containers import Vertical
from textual.content import Content
from textual.widget import Widget

from agent.ui.tui.text.blocks import Block, Prose, clean
from agent.ui.tui.text.cells import Fitted, fit, one_line
from agent.ui.tui.text.markdown import to_blocks
from agent.ui.tui.text.marks import matrix_block
from agent.ui.tui.text.plot import bars
from agent.ui.tui.text.tab_line import TabLine
from agent.ui.tui.text.tree import TreeBody
from agent.ui.tui.text.view_table import fitted
from agent.views import MarkdownView, MatrixView, PlotView, StackView, TableView, TabsView, TreeView, View

if TYPE_CHECKING:
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
        case MatrixView():
            return Prose([matrix_block(view)])
        case StackView():
            return ViewStack(view)
        case TabsView():
            return ViewTabs(view)
        case PlotView():
            return ViewPlot(view)


class ViewStack(Vertical):
    """Views below each other, with an empty line between them."""

    DEFAULT_CSS = """
    ViewStack { height: auto; width: 1fr; }
    ViewStack > * { margin: 0 0 1 0; }
    """

    def __init__(self, view: StackView) -> None:
        super().__init__()
        self._view = view

    def compose(self) -> ComposeResult:
        """Each of them."""
        yield from map(view_widget, self._view.views)


class ViewTable(Vertical):
    """Title, rows, note. What is wider than the screen wraps."""

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
        yield Rows(self._view)
        if self._view.note:
            yield Prose([Block(Content.styled(clean(self._view.note), "italic dim"))])


class Rows(Fitted):
    """Aligned columns; what does not fit wraps in its cell."""

    def __init__(self, view: TableView) -> None:
        super().__init__()
        self._view = view

    def content_for(self, width: int) -> Content:
        """As it is where it fits, else wrapped."""
        return fitted(self._view, width)


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
        for label, bar, value in bars(view.bars, width, view.figures):
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
