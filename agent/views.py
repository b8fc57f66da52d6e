"""Plain values that commands return. Every face renders all of them; none of them knows a widget."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkdownView:
    """Our own prose. Text from models or pages never goes in here: it goes in a table's cell or a tree's `text`, which are literal."""

    type: Literal["markdown"] = "markdown"
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TableView:
    """Rows of plain strings. `align` has one letter a column: l or r."""

    type: Literal["table"] = "table"
    title: str = ""
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    align: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeView:
    """A labelled tree. `text` is a leaf's body, shown literally."""

    type: Literal["tree"] = "tree"
    label: str
    text: str = ""
    children: tuple[TreeView, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TabsView:
    """Several views side by side, each with a title."""

    type: Literal["tabs"] = "tabs"
    tabs: tuple[tuple[str, View], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlotView:
    """A small series of bars: (label, value)."""

    type: Literal["plot"] = "plot"
    title: str
    unit: str
    bars: tuple[tuple[str, float], ...]


View = MarkdownView | TableView | TreeView | TabsView | PlotView
