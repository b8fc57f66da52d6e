"""The one test world: a real host on folders of its own (config, session, ledger, tools, plugins), whose models follow a script."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from agent.build import build
from agent.events import AgentEvent, TurnFinished
from agent.host import Host, Options
from agent.llm.messages import Message
from agent.llm.models.catalogue import Catalogue
from agent.llm.models.endpoint import ModelFacts
from agent.llm.request import Request
from agent.loop.turn import Turn
from agent.plugin import Plugin, PluginHost
from agent.session.session import Session
from tests.support.scripted import Line, ScriptedClient

MAIN = "fake:main"
CONFIG = """
model = "fake:main"
[endpoints.fake]
base_url = "http://127.0.0.1:9/v1"
[endpoints.fake.models.main]
context_window = 100_000
[endpoints.fake.models.other]
images = false
"""

Maker = Callable[[PluginHost], Plugin]


class World:
    """`folder` gets the program's folders and a project to work in, `work`. Only the client that calls models is replaced."""

    def __init__(
        self,
        folder: Path,
        script: Mapping[str, Sequence[Line] | Line],
        *,
        config: str = CONFIG,
        plugins: Mapping[str, Maker] | None = None,
        facts: ModelFacts | None = None,
        client: ScriptedClient | None = None,
        scripted: bool = True,
    ) -> None:
        self.folder = folder
        self.work = folder / "work"
        self.work.mkdir(parents=True, exist_ok=True)
        self.env = {f"MOA_{kind}_DIR": str(folder / kind.lower()) for kind in ("CONFIG", "STATE", "CACHE")}
        (folder / "config").mkdir(exist_ok=True)
        (folder / "config" / "config.toml").write_text(config)
        self.client = client or ScriptedClient(script, facts=facts)
        self.plugins = plugins or {}
        self.scripted = scripted
        self.outside: list[tuple[str, str]] = []

    def build(self, options: Options, *, notice: Callable[[str, str], None] | None = None, **more: Any) -> Host:
        """A real host on the scripted client. What it tells outside of turns is in `outside`, too, as (code, text)."""

        def told(code: str, text: str) -> None:
            self.outside.append((code, text))
            if notice is not None:
                notice(code, text)

        self.client.catalogue = Catalogue(self.folder / "cache")
        client = self.client if self.scripted else None
        return build(options, env=self.env, makers=self.plugins, notice=told, client=client, **more)


class TurnWorld(World):
    """A world in which turns are run one by one; what they tell is in `events`. `options` join those of the host."""

    def __init__(
        self,
        folder: Path,
        script: Mapping[str, Sequence[Line] | Line],
        *,
        approve: Any = "deny",
        options: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(folder, script, **more)
        self.host = self.build(Options(cwd=self.work, approve=approve, **(options or {})))
        self.events: list[AgentEvent] = []

    def run(self, prompt: str = "go", *, stop_at: type | None = None) -> TurnFinished:
        """One turn, cancelled at the first event of `stop_at`; then the host is closed. Returns how it ended."""

        async def main() -> TurnFinished:
            turn = Turn(self.host.agent, prompt)

            def look(event: AgentEvent) -> None:
                if stop_at is not None and isinstance(event, stop_at):
                    turn.cancel()

            finished = await self.take(turn, look)
            await self.host.aclose()
            return finished

        return asyncio.run(main())

    async def take(self, turn: Turn, look: Callable[[AgentEvent], Any] = lambda _event: None) -> TurnFinished:
        """A turn of ours to its end; `look` is called with each event. Returns how it ended."""
        async for event in turn.events():
            self.events.append(event)
            look(event)
        assert isinstance(event, TurnFinished)
        return event

    @property
    def requests(self) -> list[Request]:
        """All that models were asked, in order."""
        return self.client.requests

    @property
    def session(self) -> Session:
        """The session as it is on the disk."""
        return Session.open(self.folder / "state" / "sessions", self.host.agent.session.id)

    @property
    def history(self) -> list[Message]:
        """Its messages."""
        return list(self.session.history())

    def all(self, kind: Any) -> list[Any]:
        """The events of a kind."""
        return [event for event in self.events if isinstance(event, kind)]
