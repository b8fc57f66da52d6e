"""Text cut to columns, and numbers short enough for them. Wide characters take two columns, combining ones none."""

from __future__ import annotations

from rich.cells import cell_len, get_character_cell_size, set_cell_size
from textual.content import Content
from textual.widget import Widget

from agent.ui.columns import wrap
from agent.ui.tui.text.blocks import clean
from agent.ui.tui.text.markdown import FAINT

SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
"""A sign of life."""
MOST_LABEL = 44
"""Cells to which labels are filled, so that the notes behind them stand below each other."""
NARROW = 24
"""Cells that a note has beside its label at the least."""


def one_line(text: str) -> str:
    """Somebody else's text on one line, without anything that could steer the terminal."""
    return " ".join(clean(text).split())


def fit(text: str, cells: int, *, right: bool = False) -> str:
    """The text in exactly so many cells: padded (on the left where it belongs on the `right`), or cut with an ellipsis."""
    if cells <= 0:
        return ""
    room = cells - cell_len(text)
    if room < 0:
        return set_cell_size(text, cells - 1) + "…"
    return " " * room + text if right else text + " " * room


def hanging(label: Content, note: str, column: int, cells: int) -> Content:
    """A label with a fainter note behind it, which begins at `column` and goes on below itself: two columns. Where there is no room for
    two, the note stands below the label."""
    beside = max(column, label.cell_length) + 2
    if not note:
        return label
    if cells and cells - beside < NARROW and beside + cell_len(note) > cells:
        lead, lines = Content("\n"), wrap(note, max(8, cells - 4))
        return Content.assemble(label, *(Content.assemble(lead, "    ", (line, FAINT)) for line in lines))
    lines = wrap(note, cells - beside) if cells else [note]
    first = Content.assemble(label, " " * (beside - label.cell_length), (lines[0] if lines else "", FAINT))
    return Content.assemble(first, *(Content.assemble("\n", " " * beside, (line, FAINT)) for line in lines[1:]))


def tail(text: str, cells: int) -> str:
    """The end of a text in exactly so many cells: of what somebody is saying, the last words are the news."""
    if cell_len(text) <= cells:
        return fit(text, cells)
    kept, room = len(text), cells - 1
    while kept > 0 and (size := get_character_cell_size(text[kept - 1])) <= room:
        kept, room = kept - 1, room - size
    return fit("…" + text[kept:], cells)


class Fitted(Widget):
    """A widget whose content is made for its width. A subclass says what to show in `content_for`."""

    DEFAULT_CSS = """
    Fitted { width: 1fr; height: auto; text-wrap: nowrap; text-overflow: clip; }
    """

    def content_for(self, width: int) -> Content:
        """What is shown at this width, in cells; lines must not be longer."""
        raise NotImplementedError

    def render(self) -> Content:
        """The content at the present width."""
        return self.content_for(self.content_size.width or self.app.size.width)

    def get_content_height(self, container: object, viewport: object, width: int) -> int:
        """Lines of the content at a width."""
        return self.content_for(width).plain.count("\n") + 1 if width else 0
