"""Tables of any content, laid out for a width: cells wrap, columns shrink fairly, and what is too narrow becomes a list of records."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

from textual.content import Content

from agent.ui.columns import GAP, narrowest, seams, shares

MIN_COLUMN = 5
Row = Sequence[Content]


def lay_out(head: Row, rows: Sequence[Row], align: Sequence[str], width: int) -> Content:
    """The table for this many columns of the screen. `align` has `l`, `r` or `c` for each column."""
    count = max((len(row) for row in (head, *rows)), default=0)
    if not count:
        return Content("")
    if width < count * (MIN_COLUMN + GAP) - GAP:
        return _records(head, rows)
    widths = _widths(head, rows, align, width - GAP * (count - 1))
    lines: list[Content] = []
    if any(head):
        lines = _row_lines(head, widths, align, "bold")
        lines.append(Content.styled((" " * GAP).join("─" * size for size in widths), "$foreground-muted"))
    for row in rows:
        lines += _row_lines(row, widths, align, "")
    return Content("\n").join(lines)


def _widths(head: Row, rows: Sequence[Row], align: Sequence[str], room: int) -> list[int]:
    """As wide as the widest cell; where that is too much, the widest columns give first, and words and figures stay whole."""
    wanted, least = [], []
    for at in range(max(len(row) for row in (head, *rows))):
        cells = [row[at] for row in rows if at < len(row)]
        title = head[at] if at < len(head) else Content("")
        wanted.append(max(1, title.cell_length, *(cell.cell_length for cell in cells)))
        figures = at < len(align) and align[at] == "r"
        least.append(narrowest(title.plain, (cell.plain for cell in cells), figures=figures))
    return shares(wanted, least, room)


def _row_lines(row: Row, widths: Sequence[int], align: Sequence[str], style: str) -> list[Content]:
    cells = [
        _at_seams(row[column].stylize(style) if style else row[column], size).wrap(size)
        if column < len(row) and row[column]
        else []
        for column, size in enumerate(widths)
    ]
    lines = []
    for parts in zip_longest(*cells, fillvalue=Content("")):
        padded = [
            _pad(part, size, align[column] if column < len(align) else "l")
            for column, (part, size) in enumerate(zip(parts, widths, strict=True))
        ]
        lines.append(Content(" " * GAP).join(padded).rstrip())
    return lines or [Content("")]


def _at_seams(cell: Content, size: int) -> Content:
    cuts = seams(cell.plain, size)
    return Content("\n").join(cell.divide(cuts)) if cuts else cell


def _pad(cell: Content, size: int, align: str) -> Content:
    space = max(0, size - cell.cell_length)
    if align == "r":
        return cell.pad_left(space)
    if align == "c":
        return cell.pad(space // 2, space - space // 2)
    return cell.pad_right(space)


def _records(head: Row, rows: Sequence[Row]) -> Content:
    """One `heading: value` a line, for a screen that is narrower than the table."""
    lines: list[Content] = []
    for number, row in enumerate(rows or [head]):
        if number:
            lines.append(Content(""))
        for title, cell in zip_longest(head, row, fillvalue=Content("")):
            lines.append(Content.assemble(title.stylize("bold"), ": ", cell) if rows else title.stylize("bold"))
    return Content("\n").join(lines)
