"""Themes: Textual's own, tried while the cursor moves over them, remembered in config.toml."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual import on

from agent.errors import UsageError
from agent.text.nearest import did_you_mean
from agent.ui.tui.dialogs.picker import Chooser, Item, Picker

if TYPE_CHECKING:
    from textual.app import App

DEFAULT = "textual-dark"


class ThemePicker(Picker):
    """All themes; moving over one shows it, Esc goes back to the one before."""

    def __init__(self, app: App[None]) -> None:
        self._before = app.theme
        items = [
            Item(name, name, "dark" if theme.dark else "light") for name, theme in sorted(app.available_themes.items())
        ]
        super().__init__("Theme", items, at=app.theme)

    @on(Chooser.Highlighted)
    def _try(self, event: Chooser.Highlighted) -> None:
        if event.id is not None:
            self.app.theme = event.id

    def action_dismiss_none(self) -> None:
        """Esc: as it was."""
        self.app.theme = self._before
        self.dismiss(None)

    BINDINGS = [("escape", "dismiss_none", "Back")]  # noqa: RUF012 - Textual reads a class variable


def check(app: App[None], name: str) -> str:
    """The theme's name. Raises UsageError for one that does not exist, naming the nearest."""
    if name in app.available_themes:
        return name
    remedy = did_you_mean(name, app.available_themes, "one of: " + ", ".join(sorted(app.available_themes)))
    raise UsageError(f"there is no theme {name!r}", remedy=remedy, kind="unknown_theme")
