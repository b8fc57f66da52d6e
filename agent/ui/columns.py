"""How many columns of a terminal a text takes."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TextIO

from agent.views import TableView

LONGEST_WORD = 24
"""Columns that a word may keep a table's column from becoming narrower by; a longer one is broken."""
ROOMY = 14
"""Columns that a column of words should have before figures beside it are left out."""
GAP = 2
"""Between two columns of a table."""

_SGR = re.compile(r"\x1b\[[0-9;]*m")
_FENCE = re.compile(r"\s*(```|~~~)")
_HEAD = re.compile(r"(?:\x1b\[[0-9;]*m)*\s*(?:(?:[-*+·✗!◆›»…]|\d{1,3}[.)])\s+)?")
_PIECES = re.compile(r"\s+|\S+")
_FIGURES = re.compile(r"(?<=,) ")
_BETWEEN_SEAMS = re.compile(r"[^\s:/|_-]*[:/|_-]*")


def of_terminal(stream: TextIO) -> int | None:
    """How wide the terminal is that a stream writes to; None where it is none, and lines stay as long as they are."""
    try:
        return max(20, os.get_terminal_size(stream.fileno()).columns - 1) if stream.isatty() else None
    except (OSError, ValueError):
        return None


def width(text: str) -> int:
    """Columns that a text takes in a terminal: wide characters two, combining ones none."""
    if text.isascii():  # most of all that is drawn
        return len(text)
    total = 0
    for char in text:
        if unicodedata.combining(char) or unicodedata.category(char) in ("Mn", "Me", "Cf"):
            continue
        total += 2 if unicodedata.east_asian_width(char) in ("W", "F") else 1
    return total


def shares(wanted: Sequence[int], least: Sequence[int], room: int) -> list[int]:
    """How wide each column of a table is: as wide as it wants, or else the widest give first, none below its least as long as that fits."""
    most = max(least, default=1)
    while most > 1 and sum(least) > room:  # the longest words are broken first, so that short ones stay whole
        most -= 1
        least = [min(each, most) for each in least]
    level = max(wanted, default=0)
    sizes = list(wanted)
    while sum(sizes) > room and level > 1:
        level -= 1
        sizes = [max(1, min(want, max(low, level))) for want, low in zip(wanted, least, strict=True)]
    for index, want in enumerate(wanted):  # what is left over, a cell each
        if sum(sizes) < room and sizes[index] < want:
            sizes[index] += 1
    return sizes


def narrowest(head: str, cells: Iterable[str], *, figures: bool) -> int:
    """How narrow a column can be whose words, or whose figures (`9.7 s`, `unknown, ≤ $0.03`), stay whole. A long name with an endpoint, or a
    path, may be broken at its seams."""
    words = [width(word) for word in head.split()]
    for cell in cells:
        words += (
            [width(each) for each in _FIGURES.split(cell)]
            if figures
            else [_narrowest_word(word) for word in cell.split()]
        )
    return min(LONGEST_WORD, max(words, default=1))


def _narrowest_word(word: str) -> int:
    whole = width(word)
    return (
        whole
        if whole <= ROOMY or not set(":/") & set(word)
        else max(ROOMY, *(width(piece) for piece in _BETWEEN_SEAMS.findall(word)))
    )


def narrowed(view: TableView, room: int) -> tuple[TableView, tuple[str, ...]]:
    """A table without those of its spare columns for which there is no room, and what these are called."""
    least = []
    for at, head in enumerate(view.columns):
        figures = view.align[at : at + 1] == "r"
        column = narrowest(head, (row[at] for row in view.rows if at < len(row)), figures=figures)
        least.append(column if figures or head in view.spare else min(ROOMY, column))
    kept = list(range(len(least)))
    for name in view.spare:
        if sum(least[at] for at in kept) + GAP * (len(kept) - 1) <= room:
            break
        kept = [at for at in kept if view.columns[at] != name]
    if len(kept) == len(least):
        return view, ()
    shown = replace(
        view,
        columns=tuple(view.columns[at] for at in kept),
        rows=tuple(tuple(row[at] for at in kept if at < len(row)) for row in view.rows),
        align="".join(view.align[at : at + 1] or "l" for at in kept),
    )
    return shown, tuple(name for name in view.columns if name not in shown.columns)


def left_out(names: Sequence[str]) -> str:
    """What says that columns are not there."""
    return f"not shown, for want of room: {', '.join(names)}" if names else ""


def seams(text: str, room: int) -> list[int]:
    """Where words that are longer than so many columns can be broken well: behind a colon, a slash, a dash."""
    found: list[int] = []
    for word in re.finditer(r"\S+", text):
        start, end = word.span()
        while width(text[start:end]) > room:
            ends = [
                at + 1 for at in range(start, end - 1) if text[at] in ":/-_|" and width(text[start : at + 1]) <= room
            ]
            if not ends:
                break
            start = ends[-1]
            found.append(start)
    return found


def wrap(text: str, room: int) -> list[str]:
    """Lines of at most so many columns, broken between words where there is a gap."""
    lines: list[str] = []
    for word in text.split():
        if lines and width(lines[-1]) + 1 + width(word) <= room:
            lines[-1] += f" {word}"
            continue
        lines.append(word)
        while width(lines[-1]) > room:
            cut = len(lines[-1])
            while cut > 1 and width(lines[-1][:cut]) > room:
                cut -= 1
            lines[-1:] = [lines[-1][:cut], lines[-1][cut:]]
            if not lines[-1]:
                lines.pop()
                break
    return lines


def flow(text: str, room: int) -> str:
    """Prose, with lines that take more than so many columns broken between words, under the beginning of what they say.

    Our own colours take no columns. Fenced code and tables stay as they are, and so does a word that is longer than a line.
    """
    lines: list[str] = []
    fenced = False
    for line in text.split("\n"):
        fence = _FENCE.match(line) is not None
        fenced ^= fence
        if fence or fenced or line.lstrip().startswith("|") or _bare(line) <= room:
            lines.append(line)
        else:
            lines += _flowed(line, room)
    return "\n".join(lines)


def _flowed(line: str, room: int) -> list[str]:
    head = _HEAD.match(line)
    indent = " " * min(_bare(head[0]) if head else 0, room // 2)
    lines, gap = [""], ""
    for piece in _PIECES.findall(line):
        if piece.isspace():
            gap = piece
        elif lines[-1].strip() and _bare(lines[-1] + gap + piece) > room:
            lines.append(indent + piece)
        else:
            lines[-1] += gap + piece
            gap = ""
    return lines


def _bare(text: str) -> int:
    return width(_SGR.sub("", text))
