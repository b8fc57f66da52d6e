"""A whole chat on a scripted model: real host, session, ledger, tools and commands; everything that a face would be told is in `seen`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from agent.chat.chat import Chat
from agent.chat.events import ChatEvent
from agent.host import Options
from agent.llm.messages import Message, ToolCallPart, assistant
from agent.llm.models.endpoint import ModelFacts
from agent.llm.stream import Reply
from agent.plugin import Plugin, PluginHost
from agent.session.session import Session
from agent.views import View
from tests.support.agent import CONFIG, World
from tests.support.scripted import Line, ScriptedClient

E = TypeVar("E")


def calls(*wanted: tuple[str, dict[str, Any]], text: str = "") -> Reply:
    """A reply that calls tools."""
    parts = [ToolCallPart(id=f"t{n}", name=name, arguments=json.dumps(args)) for n, (name, args) in enumerate(wanted)]
    return Reply(message=assistant(text, *parts), finish="tool_calls", cost_nano=1_000, cost_source="prices")


class ChatBench(World):
    """`folder` gets the program's folders and a project to work in. `on` is called with each event, as it comes."""

    def __init__(
        self,
        folder: Path,
        lines: Sequence[Line] = ("ok",),
        *,
        options: Options | None = None,
        plugins: Mapping[str, Callable[[PluginHost], Plugin]] | None = None,
        config: str = CONFIG,
        facts: ModelFacts | None = None,
        client: ScriptedClient | None = None,
        scripted: bool = True,
        on: Callable[[ChatEvent], None] = lambda _event: None,
    ) -> None:
        script = {"*": list(lines)}
        super().__init__(folder, script, config=config, plugins=plugins, facts=facts, client=client, scripted=scripted)
        self.seen: list[ChatEvent] = []
        self.on = on
        self.chat = Chat(self.build, options or Options(approve="ask", cwd=self.work), self.listen)

    def listen(self, event: ChatEvent) -> None:
        self.seen.append(event)
        self.on(event)

    def run(self, *lines: str | Callable[[], Awaitable[None]]) -> list[ChatEvent]:
        """Open the chat, say each line (or do each step) and wait for what comes of it, then close it. Returns the events."""

        async def main() -> None:
            self.chat.open()
            try:
                for line in lines:
                    await (self.chat.submit(line) if isinstance(line, str) else line())
                    await self.chat.idle()
            finally:
                await self.chat.aclose()

        asyncio.run(main())
        return self.seen

    def all(self, kind: type[E]) -> list[E]:
        """The events of a kind."""
        return [event for event in self.seen if isinstance(event, kind)]

    def view(self, number: int = -1) -> View:
        """What a command showed, the last one unless told otherwise."""
        from agent.chat.events import Shown

        return self.all(Shown)[number].view

    @property
    def types(self) -> list[str]:
        """The names of the events, in order."""
        return [event.type for event in self.seen]

    @property
    def session(self) -> Session:
        """The session that is open, as it is on the disk."""
        return Session.open(self.folder / "state" / "sessions", self.chat.host.agent.session.id)

    @property
    def history(self) -> list[Message]:
        return list(self.session.history())

    @property
    def texts(self) -> list[str]:
        """What was said in the session, without the system prompt."""
        return [message.text for message in self.history[1:]]
