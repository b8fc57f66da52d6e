"""The first run (`agent.ui.first_run`) as a screen of its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Center
from textual.screen import Screen

from agent.ui import first_run
from agent.ui.tui.dialogs.form import Form

if TYPE_CHECKING:
    from agent.config.config import Config
    from agent.ledger.book import Ledger
    from agent.local.discover import Found


class FirstRun(Screen[str | None]):
    """Leads to a main model; the result is ENDPOINT:MODEL, already written to config.toml, or None for "later"."""

    TITLE = "First run"
    DEFAULT_CSS = """
    FirstRun { align: center middle; }
    FirstRun > Center { height: auto; max-height: 100%; }
    FirstRun Form { width: 90%; max-width: 84; padding: 1 2; border: round $primary; }
    FirstRun.-short Form { width: 100%; padding: 0 1; border: none; }
    FirstRun.-short Form > .text { margin: 0; max-height: 2; }
    """
    # On a screen of a few lines the choices come first: what Enter would take must be seen.
    VERTICAL_BREAKPOINTS = [(0, "-short"), (20, "-tall")]  # noqa: RUF012 - as Textual declares it
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "back", "Back")]

    def __init__(
        self,
        config: Config,
        ledger: Ledger,
        *,
        missing: str | None = None,
        present: bool = False,
        look: Callable[[], Awaitable[list[Found]]] | None = None,
    ) -> None:
        super().__init__()
        self._form = Form()
        self._leading = first_run.FirstRun(self._form, config, ledger, missing=missing, present=present, look=look)

    def compose(self) -> ComposeResult:
        """One form."""
        with Center():
            yield self._form

    def on_mount(self) -> None:
        """Start to ask."""
        self._lead()

    def action_back(self) -> None:
        """Esc: one step back; it also stops a download (what has come is kept)."""
        if not self._leading.stop():
            self._form.back()

    @work(exclusive=True)
    async def _lead(self) -> None:
        self.dismiss(await self._leading.run())
