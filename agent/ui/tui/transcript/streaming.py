"""Markdown that is still being written: what is finished is rendered once, only the block at the end is made anew.

The rules are those of `agent.ui.tui.text.markdown`: the blocks of a text that came in pieces are those of the whole text. A list's items
are finished one by one, because lists are what models write most. Code stays uncoloured until its fence closes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from textual.content import Content

from agent.ui.tui.text.blocks import Block, clean
from agent.ui.tui.text.markdown import INSET, Place, render, tokens_of, top_level

if TYPE_CHECKING:
    from markdown_it.token import Token

CHUNK = 24
"""Lines of open code in one block."""


class Streaming:
    """A growing text as blocks."""

    def __init__(self) -> None:
        self._done: list[Block] = []
        self._tail = ""
        self._place = Place()
        self._held = ""
        self._chunks: list[Block] = []

    def append(self, delta: str) -> None:
        """More of the text."""
        delta = self._held + delta
        self._held = ""
        if delta.endswith("\r"):  # perhaps the first half of a line end
            delta, self._held = delta[:-1], "\r"
        self._tail += clean(delta)

    def blocks(self, *, final: bool = False) -> list[Block]:
        """All blocks so far. `final`: nothing more comes."""
        if final:
            self._tail += clean(self._held)
            self._held = ""
        tokens = tokens_of(self._tail)
        if not final:
            tokens = self._finish(tokens)
            if code := _open_code(tokens):
                return [*self._done, *self._code(code)]
        return [*self._done, *render(self._tail, tokens, self._place)]

    def _finish(self, tokens: list[Token]) -> list[Token]:
        """Render for good what nothing that follows can change. Returns the tokens of the rest."""
        opened = list(top_level(tokens))
        if not opened:
            return tokens
        cut, last = opened[-1]
        number = self._place.number if cut == 0 else None
        if last.type in ("bullet_list_open", "ordered_list_open"):
            items = [
                index
                for index in range(cut, len(tokens))
                if tokens[index].type == "list_item_open" and tokens[index].level == last.level + 1
            ]
            if last.type == "ordered_list_open":
                start = last.attrGet("start")
                number = int(1 if start is None else start) if number is None else number
                number += len(items) - 1
            if len(items) > 1:
                cut = items[-1]
        line = (tokens[cut].map or [0])[0]
        lines = self._tail.split("\n")
        # What the last line begins is not known before it ends: `*` may become a bullet, or emphasis within what stands above.
        if cut == 0 or line == len(lines) - 1:
            return tokens
        self._done += render("\n".join(lines[:line]), tokens[:cut], self._place)
        blank = line > 0 and not lines[line - 1].strip(" \t>")
        self._place = Place(after=bool(self._done), blank=blank, number=number)
        self._tail = "\n".join(lines[line:])
        self._chunks = []
        return tokens_of(self._tail)

    def _code(self, token: Token) -> Sequence[Block]:
        """Code that goes on, in blocks of some lines, so that only the last of them is made anew."""
        lines = token.content.split("\n")
        whole = (len(lines) - 1) // CHUNK
        while len(self._chunks) < whole:
            self._chunks.append(self._chunk(token, lines, len(self._chunks)))
        return [*self._chunks, self._chunk(token, lines, whole)]

    def _chunk(self, token: Token, lines: list[str], number: int) -> Block:
        body = Content("\n".join(lines[number * CHUNK : (number + 1) * CHUNK]))
        first = number == 0
        return Block(
            body,
            first=Content(INSET),
            copied=0,
            rest=Content(INSET),
            gap=first and self._place.after and self._place.blank,
            label=token.info.strip() if first else "",
        )


def _open_code(tokens: Sequence[Token]) -> Token | None:
    """The text's only block, where that is a fence which has not been closed."""
    if len(tokens) != 1 or tokens[0].type != "fence" or tokens[0].map is None:
        return None
    first, end = tokens[0].map
    return tokens[0] if tokens[0].content.count("\n") >= end - first - 1 else None
