"""Text in blocks, drawn by one widget: paragraphs, list items, code and tables with hanging indents, wrapped once and kept.

A message is one `Prose` widget with a stack of blocks. A block remembers its lines for the width and style they were made for, so a
message that grows at its end only pays for what is new. Textual's own `Content` does the wrapping and styling of each block.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from dataclasses import replace as with_changes
from typing import cast

from rich.segment import Segment
from textual.content import Content
from textual.css.styles import RulesMap
from textual.geometry import Offset
from textual.selection import Selection
from textual.strip import Strip
from textual.style import Style
from textual.visual import RenderOptions, Visual
from textual.widget import Widget

from agent.text.cleaning import harmless
from agent.text.encodable import whole

EMPTY = Content("")
MIN_WIDTH = 8
"""Columns a block's text gets at least, however deep it is nested."""
_BREAKS = str.maketrans({"\u2028": "\n", "\u2029": "\n"})


def clean(text: str) -> str:
    """Outside text as it may be shown: no control characters, nothing a terminal can't be sent, one kind of line end."""
    return harmless(whole(text.replace("\r\n", "\n").replace("\r", "\n")).translate(_BREAKS))


@dataclass(slots=True, eq=False)
class Block:
    """A run of lines with a common indent. `body` is the text, or makes it for a width (tables).

    `first` stands before the first line (a bullet, a quote's bar), `rest` before the others; `copied` says how many characters of
    `first` belong to the text that a selection copies (default: all; `rest` never does). `gap` is an
    empty line before the block, with `above` in it; `label` a faint line above the block that is no part of the text.
    """

    body: Content | Callable[[int], Content]
    first: Content = EMPTY
    rest: Content = EMPTY
    gap: bool = False
    above: Content = EMPTY
    label: str = ""
    fill: str = ""
    """A style for the whole lines, to the right edge."""
    copied: int | None = None
    _laid: tuple[int, Content] | None = field(default=None, init=False)
    _drawn: tuple[object, list[Strip]] | None = field(default=None, init=False)

    def content(self, width: int) -> Content:
        """The text for a message of this width."""
        if isinstance(self.body, Content):
            return self.body
        if self._laid is None or self._laid[0] != width:
            self._laid = (width, self.body(self.room(width)))
        return self._laid[1]

    def indent(self) -> int:
        """Columns before the text."""
        return max(self.first.cell_length, self.rest.cell_length)

    def lead(self) -> int:
        """Characters of `first` that are copied."""
        return len(self.first) if self.copied is None else self.copied

    def room(self, width: int) -> int:
        """Columns for the text."""
        return max(MIN_WIDTH, width - self.indent())

    def height(self, rules: RulesMap, width: int) -> int:
        """Lines on the screen."""
        return self.gap + bool(self.label) + self.content(width).get_height(rules, self.room(width))

    def lines(self, width: int) -> list[str]:
        """The text as it is copied."""
        lines = (self.first.plain[: self.lead()] + self.content(width).plain).split("\n")
        return ["", *lines] if self.gap else lines

    def draw(self, width: int, style: Style, options: RenderOptions, y: int) -> list[Strip]:
        """The block's strips; its first line is the message's line `y`. Kept until any of that changes; a selection is never kept."""
        key = (width, style, y)
        selection = options.selection
        if selection is None and self._drawn is not None and self._drawn[0] == key:
            return self._drawn[1]
        strips = list(self._strips(width, style, options, y))
        if selection is None:
            self._drawn = (key, strips)
        return strips

    def forget(self) -> None:
        """Draw anew next time: colours have changed."""
        self._drawn = None

    def _strips(self, width: int, style: Style, options: RenderOptions, y: int) -> Sequence[Strip]:
        strips: list[Strip] = []
        if self.gap:
            strips += self.above.render_strips(max(1, width), 1, style, with_changes(options, selection=None))
            y += 1
        if self.label:
            faint = Content.styled(self.label, "$foreground-muted")
            label = Content.assemble(self.rest, faint).truncate(max(1, width), ellipsis=True)
            strips += label.render_strips(max(1, width), 1, style, with_changes(options, selection=None))
        content, lead = self.content(width), self.lead()
        inner = with_changes(options, selection=_inside(options.selection, y, lead))
        last = -1
        if self.fill:
            style += options.get_style(self.fill)
        first, rest = (self._head(prefix, style, options) for prefix in (self.first, self.rest))
        if lead:
            cells = self.first[:lead].cell_length
            first = Strip.join([first.crop(0, cells).apply_offsets(0, y), first.crop(cells)])
        for index, strip in enumerate(content.render_strips(self.room(width), None, style, inner)):
            x, line = _offset(strip, last)
            last = line
            strip = strip.apply_offsets(x + lead if line == 0 else x, y + line)
            head = rest if index else first
            segments: list[Segment] = [*head, *strip]
            drawn = Strip(segments, head.cell_length + strip.cell_length)
            strips.append(drawn.extend_cell_length(width, style.rich_style) if self.fill else drawn)
        return strips

    def _head(self, prefix: Content, style: Style, options: RenderOptions) -> Strip:
        """What stands before a line."""
        indent = self.indent()
        if not indent:
            return Strip([])
        (head,) = prefix.render_strips(indent, 1, style, with_changes(options, selection=None)) or [Strip([])]
        return head.adjust_cell_length(indent, style.rich_style)


def _offset(strip: Strip, last: int) -> tuple[int, int]:
    """Where a wrapped line begins in its block: (character, line). An empty line has nothing that says so: it follows the last one."""
    for segment in strip:
        meta = segment.style.meta if segment.style is not None else {}
        if "offset" in meta:
            x, y = meta["offset"]
            return int(x), int(y)
    return 0, last + 1


def _inside(selection: Selection | None, y: int, lead: int) -> Selection | None:
    """A message's selection in the coordinates of a block whose text begins at line `y`, after `lead` characters."""
    if selection is None:
        return None
    start, end = selection

    def moved(offset: Offset) -> Offset:
        line = offset.y - y
        return Offset(max(0, offset.x - lead) if line == 0 else offset.x, line)

    return Selection(None if start is None else moved(start), None if end is None else moved(end))


class Stack(Visual):
    """Blocks, one below the other."""

    def __init__(self, blocks: Sequence[Block]) -> None:
        self.blocks = blocks

    def text(self, width: int) -> str:
        """The whole text as it is copied."""
        return "\n".join(line for block in self.blocks for line in block.lines(width))

    def render_strips(self, width: int, height: int | None, style: Style, options: RenderOptions) -> list[Strip]:
        """Part of the Visual protocol."""
        strips: list[Strip] = []
        y = 0
        for block in self.blocks:
            strips += block.draw(width, style, options, y)
            y += block.gap + block.content(width).plain.count("\n") + 1
        return strips if height is None else strips[:height]

    def get_optimal_width(self, rules: RulesMap, container_width: int) -> int:
        """Part of the Visual protocol."""
        return max(
            (block.indent() + block.content(container_width).get_optimal_width(rules, 0) for block in self.blocks),
            default=0,
        )

    def get_height(self, rules: RulesMap, width: int) -> int:
        """Part of the Visual protocol."""
        return sum(block.height(rules, width) for block in self.blocks)


class Prose(Widget):
    """A widget that shows blocks. What it holds is literal: nothing in it is markup, a link or a key."""

    DEFAULT_CSS = """
    Prose { height: auto; width: 1fr; }
    """

    def __init__(self, blocks: Sequence[Block] = (), *, classes: str | None = None) -> None:
        super().__init__(classes=classes, markup=False)
        self.auto_links = False
        self._stack = Stack(blocks)

    @property
    def text(self) -> str:
        """The text as it is copied."""
        return self._stack.text(self.content_size.width or 80)

    def show(self, blocks: Sequence[Block]) -> None:
        """Show these instead. The screen is only laid out anew where the height changes."""
        width, rules = self.content_size.width, cast("RulesMap", self.styles)
        before = self._stack.get_height(rules, width) if width else -1
        self._stack = Stack(blocks)
        if width and self._stack.get_height(rules, width) == before:
            self.refresh()
            return
        self.clear_cached_dimensions()
        self.refresh(layout=True)

    def height_at(self, width: int) -> int:
        """Lines that it takes at a width."""
        return self._stack.get_height(cast("RulesMap", self.styles), max(MIN_WIDTH, width))

    def render(self) -> Stack:
        """Part of the widget protocol."""
        return self._stack

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        """What is copied."""
        return selection.extract(self.text), "\n"

    def notify_style_update(self) -> None:
        """A theme or a class changed: colours in kept lines are stale."""
        super().notify_style_update()
        for block in self._stack.blocks:
            block.forget()
