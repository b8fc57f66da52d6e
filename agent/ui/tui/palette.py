"""Ctrl+P: the command palette as a second door to the one table of slash commands."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, cast

from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.content import Content

from agent.ui.fuzzy import match

if TYPE_CHECKING:
    from agent.commands import Command
    from agent.ui.tui.app import ChatApp

BEST = 300.0
"""The score that counts as a perfect fit; the palette wants figures up to 1."""


class SlashCommands(Provider):
    """Every slash command. One that takes arguments is put into the composer, any other runs at once."""

    async def discover(self) -> Hits:
        """All of them, before anything is typed."""
        for command in self._commands():
            yield DiscoveryHit(_title(command), self._action(command), text=f"/{command.name}", help=command.summary)

    async def search(self, query: str) -> Hits:
        """Those whose name or summary fits."""
        for command in self._commands():
            title = f"/{command.name} {command.summary}"
            hit = match(query, title)
            if hit is not None:
                yield Hit(
                    min(1.0, hit.score / BEST),
                    _title(command),
                    self._action(command),
                    text=f"/{command.name}",
                    help=command.summary,
                )

    def _commands(self) -> list[Command]:
        table = cast("ChatApp", self.app).commands
        return [] if table is None else sorted(table.commands.values(), key=lambda command: command.name)

    def _action(self, command: Command) -> Callable[[], None]:
        return partial(cast("ChatApp", self.app).from_palette, command.name, bool(command.args_hint))


def _title(command: Command) -> Content:
    hint = f" {command.args_hint}" if command.args_hint else ""
    return Content(f"/{command.name}") + Content.styled(hint, "dim")
