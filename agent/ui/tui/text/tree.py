"""A tree in one widget: branches that fold, leaves with long bodies, every word of it literal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content

from agent.text.numbers import plural
from agent.ui.tui.text.blocks import clean
from agent.ui.tui.text.cells import Fitted, one_line
from agent.ui.tui.text.diff import coloured
from agent.ui.tui.text.marks import sign
from agent.views import TreeView

if TYPE_CHECKING:
    from textual import events

OPEN_LINES = 40
"""A tree of at most so many lines is shown open; a longer one with its bodies folded."""
MOST_NESTING = 12
"""Levels that are indented further."""


@dataclass(slots=True)
class _Node:
    view: TreeView
    depth: int
    open: bool
    children: list[_Node] = field(default_factory=list)

    @property
    def folds(self) -> bool:
        return bool(self.view.text or self.children)


class TreeBody(Fitted, can_focus=True):
    """Keys: up and down, Enter folds or unfolds, `e` all of it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "move(-1)", "up", show=False),
        Binding("down", "move(1)", "down", show=False),
        Binding("enter,space", "fold", "fold or unfold"),
        Binding("e", "all", "unfold all, or fold all"),
    ]

    def __init__(self, view: TreeView) -> None:
        super().__init__()
        small = sum(1 + len(node.text.splitlines()) for node in _walk_view(view)) <= OPEN_LINES
        self._root = _build(view, 0, small)
        self._root.open = True
        self._cursor = self._root
        self._made: tuple[int, bool, Content, list[_Node]] | None = None

    def content_for(self, width: int) -> Content:
        """The visible lines, wrapped for this width under their own indentation."""
        focused = self.has_focus
        if self._made is None or self._made[:2] != (width, focused):
            lines: list[Content] = []
            at: list[_Node] = []
            for node in _visible(self._root):
                for line in _lines(node, width, focused and node is self._cursor):
                    lines.append(line)
                    at.append(node)
            self._made = (width, focused, Content("\n").join(lines), at)
        return self._made[2]

    def _change(self, *, layout: bool) -> None:
        self._made = None
        self.refresh(layout=layout)

    def on_focus(self) -> None:
        """The cursor shows itself."""
        self._change(layout=False)

    def on_blur(self) -> None:
        """The cursor hides."""
        self._change(layout=False)

    def action_move(self, by: int) -> None:
        """To the next branch or leaf."""
        nodes = list(_visible(self._root))
        at = next((index for index, node in enumerate(nodes) if node is self._cursor), 0)
        self._cursor = nodes[max(0, min(len(nodes) - 1, at + by))]
        self._change(layout=False)

    def action_fold(self) -> None:
        """Fold or unfold where the cursor is."""
        self._cursor.open = not self._cursor.open
        self._change(layout=True)

    def action_all(self) -> None:
        """Unfold everything; where everything is unfolded, fold it."""
        nodes = [node for node in _walk(self._root) if node.folds and node is not self._root]
        opened = not all(node.open for node in nodes)
        for node in nodes:
            node.open = opened
        self._change(layout=True)

    def on_click(self, event: events.Click) -> None:
        """A click on a label folds or unfolds it; one on a body only moves the cursor, so that text can be selected."""
        if self._made is None or not 0 <= event.y < len(self._made[3]):
            return
        at = self._made[3]
        self._cursor = at[event.y]
        if event.y == 0 or at[event.y - 1] is not self._cursor:
            self.action_fold()


def _build(view: TreeView, depth: int, opened: bool) -> _Node:
    node = _Node(view, depth, opened or not view.text)
    node.children = [_build(child, depth + 1, opened) for child in view.children]
    return node


def _walk_view(view: TreeView) -> Iterator[TreeView]:
    yield view
    for child in view.children:
        yield from _walk_view(child)


def _walk(node: _Node) -> Iterator[_Node]:
    yield node
    for child in node.children:
        yield from _walk(child)


def _visible(node: _Node) -> Iterator[_Node]:
    yield node
    if node.open:
        for child in node.children:
            yield from _visible(child)


def _lines(node: _Node, width: int, marked: bool) -> Iterator[Content]:
    indent = 2 * min(node.depth, MOST_NESTING, max(0, (width - 16) // 2))
    mark = ("▾ " if node.open else "▸ ") if node.folds else "· "
    label = one_line(node.view.label)
    more = f"  ({plural(len(node.view.text.splitlines()), 'line')})" if node.view.text and not node.open else ""
    style = "bold" if node.folds else ""
    facts = f"  {one_line(node.view.about)}" if node.view.about else ""
    shown = (label, f"{style} reverse".strip() if marked else style)
    head = Content.assemble(sign(node.view.mark), shown, (facts + more, "dim"))
    yield from _wrapped(head, Content.styled(mark, "dim"), indent, width)
    if node.open and node.view.text:
        body = clean(node.view.text).expandtabs(4)
        yield from _wrapped(coloured(body) if node.view.diff else Content(body), Content("  "), indent, width)


def _wrapped(content: Content, first: Content, indent: int, width: int) -> Iterator[Content]:
    for index, line in enumerate(content.wrap(max(4, width - indent - 2)) or [Content("")]):
        yield Content.assemble(" " * indent, first if index == 0 else "  ", line).truncate(width)
