"""A dialog that a coroutine leads: it asks for a choice or a line, shows what it is waiting for, and says what went wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Input, ProgressBar, Static

from agent.forms import Choice
from agent.text.cleaning import harmless
from agent.ui.tui.dialogs.picker import KEYS_LIST, Chooser, Item
from agent.ui.tui.text.markdown import FAINT

KEYS_LINE = "Enter goes on · Esc goes back"


class Form(Vertical):
    """Title, text, one question at a time. Answers come back to the worker that asks; `back()` answers None."""

    DEFAULT_CSS = """
    Form { height: auto; max-height: 100%; overflow-y: auto; }
    Form > .title { text-style: bold; color: $text-primary; }
    Form > .text { margin: 1 0; height: auto; }
    Form > .error { color: $text-error; height: auto; margin-top: 1; }
    Form > .error.empty { display: none; }
    Form > .question { height: auto; }
    Form > .keys { color: $text-muted; height: auto; margin-top: 1; }
    Form > .keys.empty { display: none; }
    Form .line, Form .line:focus { border: none; height: 1; padding: 0 1; background: $boost; }
    """

    stop_key = "Esc"
    again = "Enter tries the same key again"

    def __init__(self) -> None:
        super().__init__()
        self._answer: asyncio.Future[str | None] | None = None

    def compose(self) -> ComposeResult:
        """Places for each part; the question's is filled when something is asked."""
        yield Static(classes="title", markup=False)
        yield Static(classes="text", markup=False)
        yield Vertical(classes="question")
        yield Static(classes="error empty", markup=False)
        yield Static(classes="keys empty", markup=False)

    async def choose(self, title: str, text: str, items: Sequence[Choice], *, filter: bool = False) -> str | None:
        """One of several, with a filter where the user may know what to look for; None for back. To be awaited in a worker, as all of these."""
        chooser = Chooser([Item(each.id, each.label, each.note) for each in items], filter=filter)
        await self._show(title, text, chooser)
        chooser.focus_first()
        return await self._wait(KEYS_LIST)

    async def line(
        self, title: str, text: str, *, value: str = "", placeholder: str = "", password: bool = False
    ) -> str | None:
        """A line of text, without spaces around it, beginning with `value`; None for back. What can't be read is replaced by typing."""
        entry = Input(value, placeholder=placeholder, password=password, classes="line", select_on_focus=password)
        await self._show(title, text, entry)
        entry.focus()
        answer = await self._wait(KEYS_LINE)
        return answer.strip() if answer is not None else None

    async def waiting(self, title: str, text: str) -> None:
        """Something takes a moment."""
        await self._show(title, text)

    async def progress(self, title: str, text: str) -> ProgressBar:
        """Something takes longer; the bar is the caller's to move."""
        bar = ProgressBar(show_eta=True)
        await self._show(title, text, bar)
        return bar

    def say(self, text: str) -> None:
        """Change the text below the title."""
        self.query_one(".text", Static).update(Content(harmless(text)))

    def error(self, message: str, remedy: str | None = None) -> None:
        """What went wrong; it stands until the next answer."""
        place = self.query_one(".error", Static)
        content = Content(harmless(message))
        if remedy:
            content += Content.styled(f"\n→ {harmless(remedy)}", FAINT)
        place.update(content)
        place.remove_class("empty")

    def back(self) -> bool:
        """Answer None; False where nothing is asked."""
        if self._answer is None or self._answer.done():
            return False
        self._settle(None)
        return True

    async def _show(self, title: str, text: str, *question: Chooser | Input | ProgressBar) -> None:
        self.query_one(".title", Static).update(Content(title))
        self.say(text)
        place = self.query_one(".question", Vertical)
        await place.remove_children()
        await place.mount_all(question)

    async def _wait(self, keys: str) -> str | None:
        place = self.query_one(".keys", Static)
        place.update(keys)
        place.remove_class("empty")
        self._answer = asyncio.get_running_loop().create_future()
        try:
            return await self._answer
        finally:
            self._answer = None
            place.add_class("empty")

    def _settle(self, answer: str | None) -> None:
        self.query_one(".error", Static).add_class("empty")
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(answer)

    @on(Chooser.Chosen)
    def _chosen(self, event: Chooser.Chosen) -> None:
        event.stop()
        self._settle(event.id)

    @on(Input.Submitted, ".line")
    def _entered(self, event: Input.Submitted) -> None:
        event.stop()
        if event.value.strip():
            self._settle(event.value)
