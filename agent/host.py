"""An agent with everything around it (`Host`), and what a command line says of it (`Options`). `agent.build` puts it together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.errors import StateError
from agent.hooks import ask_all
from agent.values import dataclass

if TYPE_CHECKING:
    from agent.approval.approval import Mode
    from agent.commands import CommandTable
    from agent.config.config import Config
    from agent.errors import UsageError
    from agent.llm.request import Effort
    from agent.loop.agent import Agent
    from agent.mcp.servers import Servers
    from agent.plugin import Plugin


@dataclass(frozen=True, slots=True)
class Options:
    """What a command line (or a test) says; it beats environment and file. `plugins` are options by plugin name."""

    model: str | None = None
    effort: Effort | None = None
    cwd: Path | None = None
    session: str | None = None
    resume_latest: bool = False
    approve: Mode = "deny"
    budget_usd: float | None = None
    budget_name: str = "--budget"
    """What the user calls it."""
    max_iterations: int = 90
    plugins: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    chat: bool = False
    """The conversation stays open, before somebody's eyes: the agent keeps a todo list for them."""
    first: str = ""
    """The first line of a chat, sent as soon as it is open."""
    inherit: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    """State (the model, what is armed) with which a new session begins, by name."""


@dataclass(slots=True)
class Host:
    """An agent with everything around it."""

    config: Config
    agent: Agent
    commands: CommandTable
    plugins: Sequence[Plugin]
    model_error: UsageError | None
    """Why there is no main model, where there is none: commands work all the same, a turn does not."""
    _closers: list[Callable[[], Any]]
    found: Sequence[tuple[str, str]] = ()
    """What was found while it was put together and the user should know: (code, text)."""
    servers: Servers | None = None
    """The foreign MCP servers; None where none is configured."""

    def records(self) -> tuple[str, ...]:
        """The kinds of records that plugins make; each is a list in the JSON result."""
        return tuple(kind for plugin in self.plugins for kind in plugin.records)

    def status(self) -> tuple[str, ...]:
        """What the status line says beside the model: whether commands are confined, and plugins' own words."""
        sandbox = self.agent.tools.context.sandbox
        words = (
            sandbox and sandbox.status(),
            *(word for _, word in ask_all(self.plugins, "status", lambda p: p.status())),
        )
        return tuple(word for word in words if word)

    async def reconcile(self) -> None:
        """Ask providers what calls have cost that a killed process left open. Meant to run beside a turn; failing does no harm."""
        await self.agent.ledger.reconcile(self.agent.client.generation)

    async def aclose(self) -> None:
        """End children, connections and files, whatever fails on the way."""
        for close in self._closers:
            try:
                result = close()
                if result is not None:
                    await result
            except (OSError, StateError):
                continue
