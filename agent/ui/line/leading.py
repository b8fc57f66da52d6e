"""The first run (`agent.ui.first_run`) in line mode: what is asked is printed, and the next line that is entered answers it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from agent.forms import Choice, Choices
from agent.text.cleaning import harmless
from agent.ui.columns import flow
from agent.ui.fuzzy import rank
from agent.ui.line.forms import LineForm
from agent.ui.ready import missing

if TYPE_CHECKING:
    from agent.host import Host
    from agent.ui.first_run import FirstRun
    from agent.ui.line.terminal import Terminal

MOST = 20
"""Rows shown at once; a part of a name reaches the others."""


class Leading:
    """A `Face` for one first run. `answer` gives it what was entered; `mark` is what stands before what is typed."""

    stop_key = "Ctrl+C"
    again = "an equals sign (=) tries the same key again"

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._answer: asyncio.Future[str] | None = None
        self._first_run: FirstRun | None = None
        self.mark = "› "

    async def lead(self, host: Host, why: str) -> str | None:
        """From nothing to a model, which is then in the settings; None for "later"."""
        from agent.ui.first_run import FirstRun

        self._first_run = FirstRun(self, host.config, host.agent.ledger, missing=why, present=missing(host) is None)
        return await self._first_run.run()

    def stop(self) -> bool:
        """Stop a download; False where there is none."""
        return self._first_run is not None and self._first_run.stop()

    def answer(self, line: str) -> bool:
        """Take a line as the answer; False where nothing is asked."""
        if self._answer is None or self._answer.done():
            return False
        self._answer.set_result(line)
        return True

    async def choose(self, title: str, text: str, items: Sequence[Choice], *, filter: bool = False) -> str | None:
        """Numbered rows. Where there are many, a part of a name narrows them."""
        shown = tuple(items)
        self._out(*([text] if text else [title]))
        while True:
            rows = LineForm(Choices(title=title, choices=shown[:MOST]))
            self._out(*rows.rows())
            if filter and len(items) > 1:
                more = f"{len(shown) - MOST} more; " if len(shown) > MOST else ""
                self._out(f"{more}a part of a name narrows the list")
            line = await self._read(f"0-{len(rows.form.choices)} › ")
            answered, taken, said = rows.read(line)
            if answered:
                return taken[0] if taken else None
            found = (
                [each for each, _ in rank(line.strip(), items, len(items), key=lambda item: item.label)]
                if filter
                else []
            )
            if found:
                shown = tuple(found)
            else:
                self._out(said)

    async def line(
        self, title: str, text: str, *, value: str = "", placeholder: str = "", password: bool = False
    ) -> str | None:
        """A line; an empty one is one step back, `=` is the `value` that a password has already."""
        example = f", for example {placeholder}" if placeholder and not password else ""
        self._terminal.hide(password)  # first: who reads that it is not shown may type at once
        self._out(text, f"{'It is not shown while you type. ' if password else ''}An empty line goes back{example}.")
        try:
            typed = (await self._read("key › " if password else "address › ")).strip()
            return (value if password and typed == "=" else typed) or None
        finally:
            self._terminal.hide(False)

    async def waiting(self, title: str, text: str) -> None:
        """A line."""
        self._out(f"· {text}")

    async def progress(self, title: str, text: str) -> Quarters:
        """A line for each quarter."""
        self._out(f"· {title}: {text}")
        return Quarters(self._terminal)

    def say(self, text: str) -> None:
        """A line."""
        self._out(f"· {text}")

    def error(self, message: str, remedy: str | None = None) -> None:
        """What went wrong, and what to do."""
        self._out(f"· {message}", *([f"  {remedy}"] if remedy else []))

    def _out(self, *lines: str) -> None:
        self._terminal.out(flow(harmless("\n".join(lines)), self._terminal.columns() - 1))

    async def _read(self, mark: str) -> str:
        self.mark = mark
        self._answer = asyncio.get_running_loop().create_future()
        self._terminal.refresh()
        try:
            return await self._answer
        finally:
            self.mark = "› "


class Quarters:
    """A download, in as many lines as it has quarters."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._shown = ""

    def update(self, *, total: float | None, progress: float, step: str = "") -> None:
        """Print what is new; `step` is what is being done."""
        size = f"{25 * int(4 * progress / total)} % of {total / 1e6:.0f} MB" if total else ""
        if (text := " ".join(filter(None, (step, size)))) != self._shown:
            self._shown = text
            self._terminal.out(f"· {text}")
