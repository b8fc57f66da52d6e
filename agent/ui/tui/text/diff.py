"""A unified diff as blocks: line numbers of the old and the new file, and whole lines in the theme's colours."""

from __future__ import annotations

import re
from collections.abc import Iterator

from textual.content import Content

from agent.text.numbers import plural
from agent.ui.tui.text.blocks import Block, clean

MAX_LINES = 600
"""Lines of a diff that are shown at once."""
_HUNK = re.compile(r"@@ -(\d+)(?:,\d+)? \+(\d+)(?:,\d+)? @@")
_STYLES = {
    "+": ("$text-success", "on $success-muted"),
    "-": ("$text-error", "on $error-muted"),
    " ": ("", ""),
}


def diff_blocks(diff: str, *, most: int = MAX_LINES) -> list[Block]:
    """The diff's lines (at most so many), numbered, each a block with a hanging indent. What is no diff is shown as it stands."""
    lines = clean(diff).split("\n")
    if lines and not lines[-1]:
        lines.pop()
    blocks = list(_blocks(lines[:most]))
    if len(lines) > most:
        blocks.append(Block(Content.styled(f"… {plural(len(lines) - most, 'more line')}", "$foreground-muted")))
    return blocks


def coloured(diff: str) -> Content:
    """A diff as it stands, what goes out and what comes in in the theme's colours."""
    styles = {"+": "$text-success", "-": "$text-error", "@": "$foreground-muted"}
    lines = diff.split("\n")
    return Content("\n").join(
        Content.styled(line, "$foreground-muted" if line.startswith(("--- ", "+++ ")) else styles.get(line[:1], ""))
        for line in lines
    )


def changed_lines(diff: str) -> tuple[int, int]:
    """How many lines a diff puts in and takes out."""
    lines = _body(clean(diff).split("\n"))
    kinds = [line[:1] for line in lines]
    return kinds.count("+"), kinds.count("-")


def _body(lines: list[str]) -> list[str]:
    """The lines below the file names."""
    start = next((number for number, line in enumerate(lines) if line.startswith("@@")), len(lines))
    return lines[start:]


def _blocks(lines: list[str]) -> Iterator[Block]:
    width = max((len(number) for line in lines for hunk in _HUNK.findall(line) for number in hunk), default=1) + 1
    old = new = 0
    inside = False
    for line in lines:
        hunk = _HUNK.match(line)
        if hunk:
            old, new = int(hunk[1]), int(hunk[2])
            if inside:
                yield Block(
                    Content.styled("⋯", "$foreground-muted"),
                    first=_gutter("", width),
                    rest=_gutter("", width),
                    copied=0,
                )
            inside = True
            continue
        sign = line[:1] or " "
        if not inside:
            if not line.startswith(("--- ", "+++ ")):
                yield Block(Content.styled(line, "$foreground-muted"))
            continue
        if sign not in _STYLES:
            yield Block(
                Content.styled(line, "$foreground-muted"), first=_gutter("", width), rest=_gutter("", width), copied=0
            )
            continue
        colour, fill = _STYLES[sign]
        number = old if sign == "-" else new
        old += sign != "+"
        new += sign != "-"
        yield Block(
            Content(line[1:]),
            copied=0,
            first=_gutter(str(number), width, sign, colour),
            rest=_gutter("", width),
            fill=fill,
        )


def _gutter(number: str, width: int, sign: str = " ", colour: str = "") -> Content:
    return Content.assemble((f"{number:>{width}} ", "$foreground-muted"), (f"{sign} ", colour))
