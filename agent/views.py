"""Plain values that commands return. Every face renders all of them; none of them knows a widget."""

from __future__ import annotations

from typing import Literal

from agent.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkdownView:
    """Our own prose. Text from models or pages never goes in here: it goes in a table's cell or a tree's `text`, which are literal."""

    type: Literal["markdown"] = "markdown"
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TableView:
    """Rows of plain strings. `align` has one letter a column: l or r (figures, which are never broken). `spare` names the columns that a
    narrow screen leaves out, the first one first."""

    type: Literal["table"] = "table"
    title: str = ""
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    align: str = ""
    note: str = ""
    spare: tuple[str, ...] = ()


Mark = Literal[
    "agreed",
    "disputed",
    "alone",
    "against",
    "verified",
    "unverified",
    "answered",
    "silent",
    "late",
    "cut off",
    "stopped",
    "failed",
    "working",
]
"""What a face tells apart at a glance, by a sign and a colour of its own: how a point is held, how a quote was found, what became of
somebody who was asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeView:
    """A labelled tree. `text` is a leaf's body, shown literally; `diff`: it is a unified diff. `about` are a few facts beside the label."""

    type: Literal["tree"] = "tree"
    label: str
    text: str = ""
    diff: bool = False
    children: tuple[TreeView, ...] = ()
    mark: Mark | None = None
    about: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixColumn:
    """Who stands over a column. `key` is short and unlike the others, for where there is no room for the label; `state` is in words."""

    key: str
    label: str
    state: str = ""
    mark: Mark | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixCell:
    """How one row and one column go together. `text` (a letter or two) stands instead of the mark's own sign."""

    mark: Mark | None = None
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixRow:
    """A row with a cell for each column. `group` is the heading over rows that follow each other; `notes` stand below the row."""

    label: str
    cells: tuple[MatrixCell, ...]
    group: str = ""
    mark: Mark | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixView:
    """Who holds what: columns are people (or models), rows are points. `note` is below it; what the signs mean the face says itself."""

    type: Literal["matrix"] = "matrix"
    title: str = ""
    columns: tuple[MatrixColumn, ...]
    rows: tuple[MatrixRow, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StackView:
    """Views below each other."""

    type: Literal["stack"] = "stack"
    views: tuple[View, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TabsView:
    """Several views side by side, each with a title."""

    type: Literal["tabs"] = "tabs"
    tabs: tuple[tuple[str, View], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlotView:
    """A small series of bars: (label, value). `figures` are the values in words, one a bar (empty: as plain numbers)."""

    type: Literal["plot"] = "plot"
    title: str
    unit: str
    bars: tuple[tuple[str, float], ...]
    figures: tuple[str, ...] = ()


View = MarkdownView | TableView | TreeView | MatrixView | StackView | TabsView | PlotView
