"""The messages that wait for the turn's end, above the composer."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content
from textual.widgets import Static

from agent.text.cleaning import harmless

SHOWN = 3


class Waiting(Static):
    """One line a message, the next one first."""

    DEFAULT_CSS = """
    Waiting {
        display: none;
        height: auto;
        padding: 0 1;
        color: $text-muted;
        text-wrap: nowrap;
        text-overflow: ellipsis;
    }
    """

    def show_texts(self, texts: Sequence[str]) -> None:
        """Show these; with none of them hide."""
        lines = [f"queued: {harmless(' '.join(text.split()))}" for text in texts[:SHOWN]]
        if len(texts) > SHOWN:
            lines.append(f"… and {len(texts) - SHOWN} more")
        lines.append("Alt+↑ takes the last one back")
        self.update(Content("\n".join(lines)))
        self.display = bool(texts)
