"""Counsel in the shared world: a main model that asks a panel of two, `fake:one` and `fake:two`, and their judge, `fake:judge`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agent.commands import CommandContext
from agent.events import ModelStarted, Record, TurnFinished
from agent.llm.request import Request
from agent.loop.turn import Turn
from agent.plugin import PluginHost
from agent.session.session import Session
from moa.plugin import Moa
from tests.support.agent import CONFIG, MAIN, TurnWorld
from tests.support.chatbench import calls
from tests.support.scripted import Line

ANALYSIS = json.dumps(
    {
        "consensus": ["read the file first"],
        "contradictions": [],
        "partial_coverage": [],
        "unique_insights": [],
        "blind_spots": ["nobody ran the tests"],
        "next_steps": ["run the tests"],
        "evidence": [],
    }
)
MEMBERS = '[[references]]\nmodel = "fake:one"\nrole = "doubt"\n[[references]]\nmodel = "fake:two"\n'
JUDGED = '[aggregator]\nmodel = "fake:judge"\n'
LOOK = calls(("glob", {"pattern": "*.nothing"}))


class CounselWorld(TurnWorld):
    """The main model says `main`; the preset `p` is `head` and the two members. `options` are the plugin's, `env` its environment; `session`
    is the id of one to go on with."""

    def __init__(
        self,
        folder: Path,
        main: Sequence[Line],
        head: str = 'aggregate = "raw"',
        *,
        script: Mapping[str, Line | Sequence[Line]] | None = None,
        options: Mapping[str, Any] | None = None,
        env: Mapping[str, str] | None = None,
        session: str | None = None,
    ) -> None:
        presets = folder / "config" / "presets"
        presets.mkdir(parents=True, exist_ok=True)
        (presets / "p.toml").write_text(f"{head}\n{MEMBERS}")
        (presets / "q.toml").write_text(f'aggregate = "raw"\ncadence = "turn"\n{MEMBERS}')
        lines: dict[str, Any] = {"fake:one": "advice one", "fake:two": "advice two", "fake:judge": ANALYSIS}

        def make(host: PluginHost) -> Moa:
            self.plugin_host = host
            return Moa(host, env=env or {})

        super().__init__(
            folder,
            {**lines, **(script or {}), MAIN: list(main)},
            config=f'{CONFIG}[moa]\npreset = "p"\n',
            plugins={"moa": make},
            approve="all",
            options={"session": session, "plugins": {"moa": {"preset": "p"} if options is None else options}},
        )

    async def turn(self, prompt: str = "go", **options: Any) -> TurnFinished:
        """One turn; the host stays open."""
        return await self.take(Turn(self.host.agent, prompt, options=options))

    async def say(self, text: str, *, busy: bool = False) -> Any:
        """A slash command."""
        context = CommandContext(session=self.live, emit=self.events.append, busy=busy)
        return await self.host.commands.run(text, context)

    @property
    def moa(self) -> Moa:
        """The plugin."""
        (plugin,) = self.host.plugins
        assert isinstance(plugin, Moa)
        return plugin

    @property
    def live(self) -> Session:
        """The session that is worked in."""
        return self.host.agent.session

    @property
    def records(self) -> list[dict[str, Any]]:
        """What was recorded of each counsel."""
        return [event.data for event in self.all(Record)]

    @property
    def guidance(self) -> list[str | None]:
        """What each call of the main model was given."""
        return [event.guidance for event in self.all(ModelStarted)]

    def to(self, model: str) -> list[Request]:
        """What one model was asked."""
        return [request for request in self.requests if request.model.model == model]
