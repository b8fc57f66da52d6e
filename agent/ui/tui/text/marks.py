"""Signs and colours of what a View marks, and a matrix as text."""

from __future__ import annotations

from collections.abc import Mapping

from textual.content import Content

from agent.ui.matrix import Style, lay_out
from agent.ui.tui.text.blocks import Block
from agent.ui.words import SIGNS
from agent.views import Mark, MatrixView

STYLES: Mapping[Style, str] = {
    "head": "bold",
    "group": "bold $text-primary",
    "faint": "$foreground-muted",
    "agreed": "$text-success",
    "verified": "$text-success",
    "answered": "$text-success",
    "alone": "bold $text-accent",
    "disputed": "bold $text-warning",
    "against": "bold $text-error",
    "unverified": "$text-warning",
    "silent": "$foreground-muted",
    "late": "$text-warning",
    "cut off": "$text-warning",
    "stopped": "$text-warning",
    "failed": "$text-error",
    "working": "$text-accent",
}


def sign(mark: Mark | None) -> Content:
    """The mark's sign with a blank behind it; nothing for none."""
    return Content.styled(f"{SIGNS[mark]} ", STYLES[mark]) if mark else Content("")


def matrix_block(view: MatrixView) -> Block:
    """The matrix, laid out for whatever width it gets."""

    def content(width: int) -> Content:
        lines = lay_out(view, width - 1)  # nothing stands right beside a scroll bar
        return Content("\n").join(
            Content.assemble(*((piece.text, STYLES.get(piece.style, "")) for piece in line)).rstrip() for line in lines
        )

    return Block(content)
