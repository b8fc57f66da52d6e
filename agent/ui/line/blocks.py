"""An answer as it comes, cut into blocks that are finished: those can be printed, and never have to be printed again."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

from agent.ui.text import harmless

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")


@cache
def parser() -> MarkdownIt:
    """Markdown as models write it. HTML is text like any other: a `Vec<String>` must not vanish."""
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark", {"html": False}).enable("strikethrough").enable("table")


def tokens(markdown: str) -> list[Token]:
    """The parsed text, with nothing in it that could steer the terminal: `&#27;` is an escape character once it is parsed."""
    parsed = parser().parse(harmless(markdown))
    for token in parsed:
        for one in (token, *(token.children or ())):
            one.content = harmless(one.content)
            one.attrs = {name: harmless(str(value)) for name, value in one.attrs.items()}
    return parsed


class Blocks:
    """Takes pieces of Markdown, gives back whole blocks. An item of a list is a block of its own: lists are what models write most."""

    def __init__(self) -> None:
        self._open = ""
        self._line = ""

    def feed(self, text: str) -> list[str]:
        """The blocks that this piece finished, in order."""
        self._line += harmless(text)  # a bare carriage return would be a line of its own to the parser alone
        head, newline, self._line = self._line.rpartition("\n")
        if not newline:
            return []
        fresh = head + newline
        self._open += fresh
        if self._inside_fence(fresh):
            return []
        finished, at = [], 0
        lines = [line + "\n" for line in self._open.split("\n")[:-1]]
        for end in _ends(self._open, len(lines)):
            finished.append("".join(lines[at:end]))
            at = end
        self._open = "".join(lines[at:])
        return [block for block in finished if block.strip()]

    def close(self) -> list[str]:
        """The blocks that are left at the end."""
        blocks = self.feed("\n") if self._line else []
        rest, self._open = self._open, ""
        return [*blocks, rest] if rest.strip() else blocks

    def _inside_fence(self, fresh: str) -> bool:
        """True where the open block is code that goes on: a long one is not parsed anew for each of its lines."""
        opening = FENCE.match(self._open)
        return opening is not None and opening[1] not in fresh


def _ends(markdown: str, count: int) -> Iterator[int]:
    """The lines before which a block has ended for good, whatever comes after."""
    starts: list[int] = []
    last: Any = None
    for token in parser().parse(markdown):
        if token.map is None or token.nesting < 0:
            continue
        if token.level == 0:
            starts.append(token.map[0])
            last = token
        elif token.type == "list_item_open" and token.level == 1 and token.map[0] != starts[-1]:
            starts.append(token.map[0])
    yield from starts[1:]
    # A paragraph ends with an empty line, a closed fence with itself; a list or a table may go on after one.
    if last is None or (last.type == "fence" and not _is_closed(markdown, last)):
        return
    if last.type == "fence" or (last.type in ("paragraph_open", "heading_open") and last.map[1] < count):
        yield count


def _is_closed(markdown: str, fence: Any) -> bool:
    lines = markdown.split("\n")[fence.map[0] : fence.map[1]]
    return len(lines) > 1 and lines[-1].strip().startswith(fence.markup)
