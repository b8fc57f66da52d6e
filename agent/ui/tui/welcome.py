"""What an empty conversation shows: where one is, who would answer, and the three keys that lead to everything else."""

from __future__ import annotations

from textual.content import Content
from textual.widgets import Static

from agent.ui.tui.text.cells import one_line
from agent.ui.tui.text.markdown import FAINT


class Welcome(Static):
    """Fills the transcript's place until something is said."""

    DEFAULT_CSS = """
    Welcome { height: 1fr; padding: 1 3; content-align: left bottom; color: $foreground; }
    """

    def tell(self, *, model: str, plugins: tuple[str, ...], cwd: str) -> None:
        """The facts of the open conversation."""
        counsel = ", ".join(map(one_line, plugins)) or "off: /moa switches it on"
        rows = [("model", one_line(model)), ("counsel", counsel), ("folder", one_line(cwd))]
        lines = [Content.styled("moa", "bold $text-primary")]
        lines += [Content.assemble((f"{name:<9}", FAINT), (value, "")) for name, value in rows]
        lines.append(Content.styled("\n/ commands · @ files · ! shell · ? all keys", FAINT))
        self.update(Content("\n").join(lines))
