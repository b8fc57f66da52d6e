"""Views as plain text, for terminals without a face, pipes and logs."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from itertools import zip_longest

from agent.text.cleaning import harmless, visible
from agent.ui.columns import GAP, left_out, narrowed, narrowest, seams, shares, width, wrap
from agent.ui.matrix import lay_out
from agent.ui.words import SIGNS
from agent.views import MarkdownView, MatrixView, PlotView, StackView, TableView, TabsView, TreeView, View

__all__ = ["harmless", "render", "visible"]

MATRIX_COLUMNS = 100
"""How wide a matrix is where nobody says how wide the terminal is."""


def render(view: View, columns: int | None = None) -> str:
    """A view as text, without a trailing newline. With `columns` a table that is wider wraps in its cells."""
    return harmless("\n".join(_lines(view, columns)))


def _lines(view: View, columns: int | None) -> Iterable[str]:
    match view:
        case MarkdownView():
            yield view.text
        case TableView():
            yield from _table(view, columns)
        case TreeView():
            yield from _tree(view, "", columns)
        case MatrixView():
            yield from (
                "".join(piece.text for piece in line).rstrip() for line in lay_out(view, columns or MATRIX_COLUMNS)
            )
        case StackView():
            for index, inner in enumerate(view.views):
                if index:
                    yield ""
                yield from _lines(inner, columns)
        case TabsView():
            for index, (title, inner) in enumerate(view.tabs):
                if index:
                    yield ""
                yield title
                yield "─" * width(title)
                yield from _lines(inner, columns)
        case PlotView():
            yield from _plot(view)


def _table(view: TableView, columns: int | None) -> Iterable[str]:
    if view.title:
        yield from _fill(view.title, columns)
    note = view.note
    if columns is not None:
        view, missing = narrowed(view, columns)
        note = "\n".join(filter(None, (note, left_out(missing))))
    align = view.align.ljust(len(view.columns), "l")
    rows = [tuple(" ".join(cell.split("\n")) for cell in row) for row in (view.columns, *view.rows)]
    rows = [(*row, *("" for _ in range(len(view.columns) - len(row)))) for row in rows]
    widths = [max(width(row[column]) for row in rows) for column in range(len(view.columns))]
    if columns is not None and sum(widths) + GAP * (len(widths) - 1) > columns:
        least = [
            narrowest(head, (row[at] for row in rows[1:]), figures=align[at] == "r")
            for at, head in enumerate(view.columns)
        ]
        widths = shares(widths, least, columns - GAP * (len(widths) - 1))
    for index, row in enumerate(rows):
        yield from _row(row, widths, align)
        if index == 0:
            yield "  ".join("─" * size for size in widths)
    if note:
        for line in note.split("\n"):
            yield from _fill(line, columns)


def _row(row: Sequence[str], widths: Sequence[int], align: str) -> Iterable[str]:
    parts = [
        [cell] if width(cell) <= size else wrap(_at_seams(cell, size), size)
        for cell, size in zip(row, widths, strict=True)
    ]
    for line in zip_longest(*parts, fillvalue=""):
        cells = []
        for cell, size, side in zip(line, widths, align, strict=False):
            space = " " * (size - width(cell))
            cells.append(space + cell if side == "r" else cell + space)
        yield "  ".join(cells).rstrip()


def _at_seams(cell: str, size: int) -> str:
    for cut in reversed(seams(cell, size)):
        cell = f"{cell[:cut]} {cell[cut:]}"
    return cell


def _fill(text: str, columns: int | None) -> Iterable[str]:
    return [text] if columns is None else textwrap.wrap(text, columns) or [""]


def _tree(view: TreeView, indent: str, columns: int | None) -> Iterable[str]:
    sign = f"{SIGNS[view.mark]} " if view.mark else ""
    yield from _hung(f"{sign}{view.label}" + (f"  ({view.about})" if view.about else ""), indent, columns)
    for line in view.text.splitlines():
        yield from _hung(line, f"{indent}  ", columns)
    for child in view.children:
        yield from _tree(child, indent + "  ", columns)


def _hung(text: str, indent: str, columns: int | None) -> Iterable[str]:
    """A line, with what has no room below it, two columns further in."""
    if columns is None or width(indent) + width(text) <= columns or not text.strip():
        return [f"{indent}{text}"]
    inner = text[: len(text) - len(text.lstrip())]
    room = max(8, columns - width(indent) - width(inner) - 2)
    first, *rest = wrap(text, room)
    return [f"{indent}{inner}{first}", *(f"{indent}{inner}  {line}" for line in rest)]


def _plot(view: PlotView) -> Iterable[str]:
    yield f"{view.title} ({view.unit})"
    top = max((value for _, value in view.bars), default=0.0)
    label_width = max((width(label) for label, _ in view.bars), default=0)
    figures = view.figures or tuple(f"{value:g}" for _, value in view.bars)
    for (label, value), figure in zip(view.bars, figures, strict=True):
        bar = "█" * round(30 * value / top) if top else ""
        yield f"{label}{' ' * (label_width - width(label))}  {bar} {figure}"
