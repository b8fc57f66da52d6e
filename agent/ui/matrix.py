"""A MatrixView laid out for a width, as lines of styled pieces: every face draws the same table, each with its own colours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Literal, NamedTuple

from agent.text.cleaning import harmless
from agent.text.encodable import whole
from agent.ui.columns import width, wrap
from agent.ui.words import MEANING, SIGNS
from agent.views import Mark, MatrixColumn, MatrixRow, MatrixView

Style = Mark | Literal["head", "group", "faint", ""]
GAP = 2
NOBODY = "·"
"""What stands in a cell where the two have nothing to do with each other."""
LEAST_LABEL = 26
"""Columns of the screen that the rows' own words get; where the names leave less, columns are headed by their keys."""

MOST_LABEL = 72
"""More than this they never get: the eye has to find the cells."""


class Piece(NamedTuple):
    """Some text and how it looks."""

    text: str
    style: Style = ""


Line = list[Piece]


def lay_out(view: MatrixView, columns: int) -> list[Line]:
    """The lines for so many columns of the screen; none is longer, unless there is no room for a word."""
    columns = max(20, columns)
    lines: list[Line] = [[Piece(part, "head")] for part in wrap(flat(view.title), columns)]
    sizes = [max(width(flat(each.label)), width(_state(each)), 1) for each in view.columns]
    named = columns - sum(sizes) - GAP * len(sizes) >= max(LEAST_LABEL, columns * 2 // 5)
    wide = min(MOST_LABEL, max((width(flat(row.label)) + 2 for row in view.rows), default=0))
    if view.rows and named:
        table = min(columns, max(wide, LEAST_LABEL) + sum(sizes) + GAP * len(sizes))
        lines += _heads(view.columns, sizes, table)
    else:
        lines += [[Piece(f"{each.key:>2} ", "faint"), *_asked(each, columns - 3)] for each in view.columns]
        sizes = [max(width(each.key), 1) for each in view.columns]
        table = min(columns, max(wide, LEAST_LABEL) + sum(sizes) + GAP * len(sizes))
        if view.rows:
            keys = [Piece(_centred(each.key, size), "head") for each, size in zip(view.columns, sizes, strict=True)]
            lines += [[], _beside([Piece("")], keys, table)]
    for group, rows in groupby(view.rows, lambda row: row.group):
        if group:
            lines += [[Piece(flat(group), "group")]]
        for row in rows:
            lines += _row(row, sizes, table, columns)
    lines += _legend(view, columns)
    lines += [[Piece(part, "faint")] for part in wrap(flat(view.note), columns)]
    return lines


def flat(text: str) -> str:
    """Somebody else's words on one line, without anything that could steer the terminal."""
    return " ".join(harmless(whole(text)).split())


def _state(column: MatrixColumn) -> str:
    sign = f"{SIGNS[column.mark]} " if column.mark else ""
    return sign + flat(column.state)


def _heads(columns: Sequence[MatrixColumn], sizes: Sequence[int], room: int) -> Iterator[Line]:
    named = [Piece(_centred(flat(each.label), size), "head") for each, size in zip(columns, sizes, strict=True)]
    yield _beside([Piece("")], named, room)
    if any(each.state for each in columns):
        states = [
            Piece(_centred(_state(each), size), each.mark or "") for each, size in zip(columns, sizes, strict=True)
        ]
        yield _beside([Piece("")], states, room)


def _asked(column: MatrixColumn, room: int) -> Line:
    label = flat(column.label)
    while width(label) > max(4, room - width(_state(column)) - 2):
        label = label[:-2] + "…" if len(label) > 2 else ""
    return [Piece(f"{label}  ", "head"), Piece(_state(column), column.mark or "")]


def _row(row: MatrixRow, sizes: Sequence[int], table: int, columns: int) -> Iterator[Line]:
    """A row of a table so wide, and its notes on the whole width."""
    sign = f"{SIGNS[row.mark]} " if row.mark else "  "
    room = table - sum(sizes) - GAP * len(sizes) - width(sign)
    first, *rest = wrap(flat(row.label), max(8, room)) or [""]
    cells = [
        Piece(_centred(_cell(cell.mark, flat(cell.text)), size), cell.mark or "faint")
        for cell, size in zip(row.cells, sizes, strict=True)
    ]
    style = row.mark if row.mark in ("disputed", "against") else ""
    yield _beside([Piece(sign, row.mark or ""), Piece(first, style or "")], cells, table)
    yield from ([Piece(" " * width(sign)), Piece(part, style or "")] for part in rest)
    for note in row.notes:
        for index, part in enumerate(wrap(flat(note), columns - 6)):
            yield [Piece(" " * (4 if index == 0 else 6)), Piece(part)]


def _cell(mark: Mark | None, text: str) -> str:
    doubt = SIGNS["unverified"] if text and mark == "unverified" else ""
    return f"{text}{doubt}" or (SIGNS[mark] if mark else NOBODY)


def _beside(label: Line, cells: Sequence[Piece], columns: int) -> Line:
    """A label at the left, cells at the right edge."""
    taken = sum(width(piece.text) for piece in label)
    wide = sum(width(piece.text) + GAP for piece in cells)
    line = [*label, Piece(" " * max(0, columns - taken - wide))]
    for cell in cells:
        line += [Piece(" " * GAP), cell]
    return line


def _legend(view: MatrixView, columns: int) -> list[Line]:
    marks = list(dict.fromkeys(cell.mark for row in view.rows for cell in row.cells if cell.mark in MEANING))
    said = [f"{'A B' if mark == 'disputed' else SIGNS[mark]} {MEANING[mark]}" for mark in MEANING if mark in marks]
    return [[], *([Piece(part, "faint")] for part in wrap(" · ".join(said), columns))] if said else []


def _centred(text: str, size: int) -> str:
    space = max(0, size - width(text))
    return " " * (space // 2) + text + " " * (space - space // 2)
