"""A TableView as text for a width: literal cells, and without the columns for which there is no room."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.cells import cell_len
from textual.content import Content

from agent.ui.columns import GAP, left_out, narrowed
from agent.ui.tui.text.cells import fit, one_line
from agent.ui.tui.text.table import lay_out

if TYPE_CHECKING:
    from agent.views import TableView


def fitted(view: TableView, width: int) -> Content:
    """Heads, a rule and rows for this many columns of the screen, and which of the columns have no room there."""
    view, missing = narrowed(view, width)
    content = table_content(view)
    if view.columns and any(line.cell_length > width for line in content.split("\n", allow_blank=True)):
        heads = [Content.styled(one_line(head), "dim") for head in view.columns]
        rows = [[Content(one_line(cell)) for cell in row[: len(heads)]] for row in view.rows]
        content = lay_out(heads, rows, view.align, width)
    if not missing:
        return content
    return Content("\n").join([content, Content.styled(left_out(missing), "italic dim")])


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
        return (" " * GAP).join(parts).rstrip()

    lines: list[Content] = []
    if any(heads):
        lines.append(Content.styled(line(heads), "bold dim"))
        lines.append(Content.styled((" " * GAP).join("─" * size for size in sizes), "dim"))
    lines += [Content(line(row)) for row in rows]
    if not rows:
        lines.append(Content.styled("nothing yet", "dim"))
    return Content("\n").join(lines)
