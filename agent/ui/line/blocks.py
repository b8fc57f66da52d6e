"""An answer as it comes, cut into blocks that are finished: those can be printed, and never have to be printed again."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

from agent.text.cleaning import harmless

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

SMALL = 800
"""Characters of a block that is parsed with each line."""
LONGEST, LONGEST_CODE = 6_000, 24_000
"""Characters of a block that is not waited for any longer: of a table each takes ten times as long to set as of code."""
FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")


@cache
def parser() -> MarkdownIt:
    """Markdown as models write it. HTML is text like any other: a `Vec<String>` must not vanish."""
    from markdown_it import MarkdownIt

    from agent.text.markdown import with_tables

    return with_tables(MarkdownIt("commonmark", {"html": False}).enable("strikethrough"))


def tokens(markdown: str) -> list[Token]:
    """The parsed text, with nothing in it that could steer the terminal: `&#27;` is an escape character once it is parsed."""
    parsed = parser().parse(harmless(markdown))
    for token in parsed:
        for one in (token, *(token.children or ())):
            one.content = harmless(one.content)
            one.attrs = {name: harmless(str(value)) for name, value in one.attrs.items()}
    return parsed


class Blocks:
    """Takes pieces of Markdown, gives back whole blocks. An item of a list is a block of its own: lists are what models write most.

    Whatever is written, this takes time in proportion to its length: a block that grows is parsed anew only when it has grown by a
    quarter, and one that is longer than anybody reads as one is given back in parts.
    """

    def __init__(self) -> None:
        self._open = ""
        self._line: list[str] = []
        self._parsed = 0  # length of what was open when it was parsed last

    def feed(self, text: str) -> list[str]:
        """The blocks that this piece finished, in order."""
        head, newline, rest = harmless(text).rpartition(
            "\n"
        )  # a bare carriage return would be a line to the parser alone
        if not newline:
            self._line.append(rest)
            return []
        fresh = "".join((*self._line, head, newline))
        self._line = [rest]
        done: list[str] = []
        while fresh:  # a long answer may come in one piece
            part, fresh = _cut(fresh)
            done += self._take(part)
        return done

    def _take(self, fresh: str) -> list[str]:
        self._open += fresh
        if len(self._open) > longest(self._open):
            return self._break()
        small = len(self._open) < SMALL
        if self._inside_fence(fresh) or not (small or len(self._open) > 1.25 * self._parsed):
            return []
        finished, at = [], 0
        lines = [line + "\n" for line in self._open.split("\n")[:-1]]
        for end in _ends(self._open, len(lines)):
            finished.append("".join(lines[at:end]))
            at = end
        self._open = "".join(lines[at:])
        self._parsed = len(self._open)
        return [block for block in finished if block.strip()]

    def _break(self) -> list[str]:
        """What is open as far as it has come; code goes on as code."""
        opening = FENCE.match(self._open)
        block, self._open, self._parsed = self._open, "", 0
        if opening is None:
            return [block]
        first, _, rest = block.partition("\n")
        end = rest.find(f"\n{opening[1]}")
        if end >= 0 and rest[end + 1 + len(opening[1]) :].lstrip(opening[1][0]).split("\n", 1)[0].strip() == "":
            return [block]  # it has ended meanwhile
        self._open = f"{first}\n"
        return [f"{block}{opening[1]}\n"]

    def close(self) -> list[str]:
        """The blocks that are left at the end."""
        blocks = self.feed("\n") if any(self._line) else []
        rest, self._open = self._open, ""
        return [*blocks, rest] if rest.strip() else blocks

    def _inside_fence(self, fresh: str) -> bool:
        """True where the open block is code that goes on: a long one is not parsed anew for each of its lines."""
        opening = FENCE.match(self._open)
        return opening is not None and opening[1] not in fresh


FEW = 20
"""Blocks that are set one by one where they come together."""
MOST_SET = 40_000
"""Characters that are set at a time; what is more is shown as it was written."""


def longest(block: str) -> int:
    """How many characters of a block like this one are set at once."""
    return LONGEST_CODE if FENCE.match(block) else LONGEST


def at_once(blocks: list[str]) -> Iterator[str]:
    """Blocks that came together, in fewer where they are many: each is set by itself, which takes a while."""
    if len(blocks) <= FEW:
        yield from blocks
        return
    joined, room = "", MOST_SET
    for block in blocks:
        if joined and room > 0 and len(joined) + len(block) > LONGEST:
            yield joined
            joined = ""
        joined += block
        room -= len(block)
    yield joined


def _cut(text: str) -> tuple[str, str]:
    """Whole lines for one parse, and the rest. A single line may be longer."""
    if len(text) <= SMALL:
        return text, ""
    end = text.rfind("\n", 0, SMALL) + 1 or text.find("\n") + 1
    return text[:end], text[end:]


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
