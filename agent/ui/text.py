"""Views as plain text, for terminals without a face, pipes and logs."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from agent.views import MarkdownView, PlotView, TableView, TabsView, TreeView, View

# C0 and C1 (ESC among them) but for line ends and tabs; and bidirectional overrides, which make a command read as another one.
_CONTROLS = dict.fromkeys(
    [*range(0x09), *range(0x0B, 0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
)


# Characters that do something without being seen. Joiners are not among them: emoji and some scripts are written with them.
_UNSEEN = r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\U000e0000-\U000e007f]"


def visible(text: str) -> str:
    """The text with what can't be seen written out (`\\x1b`), for a question about it: nobody should allow what they can't see."""
    if text.isprintable():
        return text
    return re.sub(_UNSEEN, lambda found: found[0].encode("unicode_escape").decode(), text.replace("\r\n", "\n"))


def harmless(text: str) -> str:
    """The text without control characters: what a model, a page or a tool says can't steer the terminal."""
    return text if text.isprintable() else text.translate(_CONTROLS)


def width(text: str) -> int:
    """Columns that a text takes in a terminal: wide characters two, combining ones none."""
    total = 0
    for char in text:
        if unicodedata.combining(char) or unicodedata.category(char) in ("Mn", "Me", "Cf"):
            continue
        total += 2 if unicodedata.east_asian_width(char) in ("W", "F") else 1
    return total


def render(view: View) -> str:
    """A view as text, without a trailing newline."""
    return harmless("\n".join(_lines(view)))


def _lines(view: View) -> Iterable[str]:
    match view:
        case MarkdownView():
            yield view.text
        case TableView():
            yield from _table(view)
        case TreeView():
            yield from _tree(view, "")
        case TabsView():
            for index, (title, inner) in enumerate(view.tabs):
                if index:
                    yield ""
                yield title
                yield "─" * width(title)
                yield from _lines(inner)
        case PlotView():
            yield from _plot(view)


def _table(view: TableView) -> Iterable[str]:
    if view.title:
        yield view.title
    rows = [tuple(cell.replace("\n", " ") for cell in row) for row in (view.columns, *view.rows)]
    widths = [max(width(row[column]) for row in rows) for column in range(len(view.columns))]
    align = view.align or "l" * len(view.columns)
    for index, row in enumerate(rows):
        cells = []
        for column, cell in enumerate(row):
            space = " " * (widths[column] - width(cell))
            cells.append(space + cell if align[column] == "r" else cell + space)
        yield "  ".join(cells).rstrip()
        if index == 0:
            yield "  ".join("─" * size for size in widths)
    if view.note:
        yield view.note


def _tree(view: TreeView, indent: str) -> Iterable[str]:
    yield indent + view.label
    for line in view.text.splitlines():
        yield f"{indent}  {line}"
    for child in view.children:
        yield from _tree(child, indent + "  ")


def _plot(view: PlotView) -> Iterable[str]:
    yield f"{view.title} ({view.unit})"
    top = max((value for _, value in view.bars), default=0.0)
    label_width = max((width(label) for label, _ in view.bars), default=0)
    for label, value in view.bars:
        bar = "█" * round(30 * value / top) if top else ""
        yield f"{label}{' ' * (label_width - width(label))}  {bar} {value:g}"
