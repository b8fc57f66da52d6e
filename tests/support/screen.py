"""What a Textual app shows, as plain text: the strips that its compositor would send to the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from textual.app import App
    from textual.strip import Strip


def dump(app: App[Any]) -> str:
    """The screen's lines, trailing spaces and empty lines at the end left out."""
    return "\n".join(strip.text.rstrip() for strip in strips(app)).rstrip("\n")


def widths(app: App[Any]) -> set[int]:
    """The widths of the screen's lines in cells: anything but the screen's own width is a broken frame."""
    return {strip.cell_length for strip in strips(app)}


def strips(app: App[Any]) -> list[Strip]:
    """The screen's lines with their styles. The one private name: Textual has no public way to the composed lines but an SVG."""
    return app.screen._compositor.render_strips()
