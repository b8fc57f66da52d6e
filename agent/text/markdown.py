"""What all readers of a model's Markdown have in common."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.rules_block import StateBlock
    from markdown_it.token import Token

_PIPE = re.compile(r"(?<!\\)\|")


def with_tables(parser: MarkdownIt) -> MarkdownIt:
    """The parser with tables that lose nothing.

    A row of more cells than its head has is cut by the rules of GitHub's Markdown. Models write `a || b` in cells without an escape, and
    what stood behind it was gone: here the last cell keeps it.
    """
    from markdown_it.rules_block import table

    def whole(state: StateBlock, start: int, end: int, silent: bool) -> bool:
        before = len(state.tokens)
        if not table(state, start, end, silent):
            return False
        row = 0
        cells: list[Token] = []
        for token in state.tokens[before:]:
            if token.type == "tr_open" and token.map:
                row, cells = token.map[0], []
            elif token.type == "inline":
                cells.append(token)
            elif token.type == "tr_close" and cells:
                line = state.src[state.bMarks[row] + state.tShift[row] : state.eMarks[row]]
                if more := _behind(line, len(cells)):
                    cells[-1].content += f" | {more}"
        return True

    parser.enable("table")
    parser.block.ruler.at("table", whole, {"alt": ["paragraph", "reference"]})
    return parser


def _behind(line: str, count: int) -> str:
    """What of a table's line stands behind its first so many cells."""
    found = _PIPE.split(line.strip())
    if found and not found[0]:
        found.pop(0)
    if found and not found[-1]:
        found.pop()
    return " | ".join(cell.strip().replace("\\|", "|") for cell in found[count:]).strip(" |")
