"""Text for a terminal that scrolls: colours where they are wanted, Markdown by Rich, else the words as they are."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from typing import Literal

from agent.text.cleaning import harmless
from agent.text.numbers import plural
from agent.ui import matrix
from agent.ui.columns import flow
from agent.ui.line.blocks import longest, tokens
from agent.ui.matrix import Piece, lay_out
from agent.ui.text import render
from agent.views import MarkdownView, MatrixView, StackView, TabsView, TreeView, View

Style = Literal["dim", "bold", "red", "green", "yellow", "cyan"]

CODES: dict[Style, str] = {"dim": "2", "bold": "1", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}

PIECES: Mapping[matrix.Style, Style] = {
    "head": "bold",
    "group": "cyan",
    "faint": "dim",
    "agreed": "green",
    "verified": "green",
    "answered": "green",
    "alone": "cyan",
    "disputed": "yellow",
    "against": "red",
    "unverified": "yellow",
    "silent": "dim",
    "late": "yellow",
    "cut off": "yellow",
    "stopped": "yellow",
    "failed": "red",
    "working": "cyan",
}

SGR = re.compile(r"\x1b\[[0-9;]*m")


def wants_colour(env: Mapping[str, str] = os.environ) -> bool:
    """False where the user (NO_COLOR) or the terminal (TERM=dumb) will have none."""
    return not env.get("NO_COLOR") and env.get("TERM", "") not in ("", "dumb", "unknown")


MOST_OF_A_DIFF = 2_000
"""Lines of a diff that a command shows."""


class Paint:
    """Makes strings to print. `width` is asked for each time: terminals change theirs."""

    def __init__(self, *, colour: bool, width: Callable[[], int] = lambda: 80) -> None:
        self.colour = colour
        self.width = width

    def __call__(self, text: str, style: Style) -> str:
        """A text in a style, without anything of its own that could steer the terminal."""
        text = harmless(text)
        return f"\x1b[{CODES[style]}m{text}\x1b[0m" if self.colour and text else text

    def prose(self, text: str, style: Style) -> str:
        """The same for words to be read: no word is broken at the edge."""
        return self(flow(harmless(text), self.width() - 1), style)

    def markdown(self, text: str) -> str:
        """A block of Markdown, set by Rich. Without colours it stays as it was written, but for the ends of lines: that reads well, aloud too."""
        text = text.strip("\n")
        if not self.colour or len(text) > 2 * longest(text):  # too long to be set; as it was written
            return flow(harmless(text), max(20, self.width() - 1))
        import io

        from rich.console import Console

        from agent.ui.line.document import Document

        out = io.StringIO()
        console = Console(
            file=out,
            force_terminal=True,
            color_system="standard",
            width=max(20, self.width()),
            legacy_windows=False,
            highlight=False,
        )
        console.print(Document(tokens(text)))
        lines = [line.rstrip() for line in out.getvalue().split("\n")]
        while lines and not SGR.sub("", lines[0]).strip():
            lines.pop(0)
        while lines and not SGR.sub("", lines[-1]).strip():
            lines.pop()
        return "\n".join(lines)

    def view(self, view: View) -> str:
        """A command's answer."""
        match view:
            case MarkdownView():
                return self.markdown(view.text)
            case TabsView():
                return "\n\n".join(f"{self(title, 'bold')}\n{self.view(inner)}" for title, inner in view.tabs)
            case StackView():
                return "\n\n".join(self.view(inner) for inner in view.views)
            case TreeView(children=children) if any(child.diff for child in children):
                parts = [self(view.label, "bold")]
                for child in children:
                    head = self(f"{child.label}  ({child.about})", "bold")
                    parts.append(f"{head}\n{self.diff(child.text, MOST_OF_A_DIFF)}")
                return "\n\n".join(parts)
            case MatrixView():
                lines = lay_out(view, min(self.width(), 120) - 1)
                return "\n".join("".join(self._piece(piece) for piece in line).rstrip() for line in lines)
        return render(view, max(20, self.width() - 1))

    def _piece(self, piece: Piece) -> str:
        style = PIECES.get(piece.style)
        return self(piece.text, style) if style else harmless(piece.text)

    def diff(self, diff: str, most: int) -> str:
        """A unified diff, at most so many lines of it."""
        lines = harmless(diff).splitlines()
        shown = [self._diff_line(line) for line in lines[:most]]
        if len(lines) > most:
            shown.append(self(f"… {plural(len(lines) - most, 'more line')}", "dim"))
        return "\n".join(shown)

    def _diff_line(self, line: str) -> str:
        if re.match(r"(\+\+\+|---) ", line):
            return self(line, "bold")
        styles: dict[str, Style] = {"+": "green", "-": "red", "@": "cyan"}
        return self(line, styles[line[0]]) if line[:1] in styles else line
