"""All foreign servers of a session: started side by side before its first request, and what they bring to the list of tools."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from agent.mcp.connection import START_S, Connection, Place
from agent.mcp.tools import MCP, ForeignTool, Mcp

if TYPE_CHECKING:
    from agent.config.mcp import ServerSettings
    from agent.events import AgentEvent
    from agent.loop.tool_runner import ToolRunner

MOST_DIRECT = 96
"""Tools of servers that requests list one by one. Endpoints take 128; the others are reached through `mcp`."""


class Servers:
    """The servers of one agent. `notice` is told what happens outside of a turn; within one, its stream is (`turn`)."""

    def __init__(
        self,
        servers: Iterable[ServerSettings],
        place: Place,
        *,
        start_s: float,
        notice: Callable[[str, str], None] = lambda _code, _text: None,
        redact: Callable[[str], str] = lambda text: text,
        longest_start_s: float = START_S,
    ) -> None:
        self._start_s = start_s
        self._notice = notice
        self._emit: Callable[[AgentEvent], None] | None = None
        self._runner: ToolRunner | None = None
        self._begun = False
        self.connections = {
            server.name: Connection(
                server, place, tell=self._tell, changed=self._changed, redact=redact, start_s=longest_start_s
            )
            for server in servers
        }
        self.tool = Mcp(self.connections)

    def attach(self, runner: ToolRunner) -> None:
        """Whose tools are to be filled."""
        self._runner = runner

    async def before_request(self, emit: Callable[[AgentEvent], None]) -> None:
        """Before a turn's first request: start them, the first time, and wait for them, but not for long. `emit` is the turn's stream."""
        self._emit = emit
        if self._begun:
            self._changed()
            return
        self._begun = True
        for connection in self.connections.values():
            connection.start()
        waits = [asyncio.create_task(each.settled()) for each in self.connections.values()]
        try:
            await asyncio.wait(waits, timeout=self._start_s)
        finally:
            for wait in waits:
                wait.cancel()
        self._changed()
        if late := [each.name for each in self.connections.values() if each.state == "starting"]:
            text = f"not ready after {self._start_s:g} s: the MCP server {', '.join(late)}; what it has comes later, through the tool {MCP}"
            self._tell("mcp_late", text)

    def turn_over(self) -> None:
        """The turn's stream is closed."""
        self._emit = None

    async def aclose(self) -> None:
        """End all of them, side by side."""
        await asyncio.gather(*(each.aclose() for each in self.connections.values()), return_exceptions=True)

    def news(self) -> dict[str, str]:
        """The servers whose tools requests do not list, each with a word on what it has: for a model that does not know of them."""
        listed = {spec.name for spec in self._runner.listed} if self._runner is not None else set()
        found = {}
        for name, connection in self.connections.items():
            unlisted = [tool.plain for tool in connection.tools if tool.spec.name not in listed]
            if connection.state == "ready" and unlisted and listed:
                found[name] = ", ".join(unlisted[:20]) + (
                    f" and {len(unlisted) - 20} more" if len(unlisted) > 20 else ""
                )
        return found

    def _changed(self) -> None:
        """Put into the runner what the servers have now. A server that is down keeps its tools: they say so when they are called."""
        runner = self._runner
        if runner is None:
            return
        now: dict[str, ForeignTool] = {}
        for connection in self.connections.values():
            tools = {tool.spec.name: ForeignTool(connection, tool) for tool in connection.tools}
            if len(now) + len(tools) <= MOST_DIRECT:
                now.update(tools)
        for name in [name for name, tool in runner.tools.items() if isinstance(tool, ForeignTool) and name not in now]:
            del runner.tools[name]
        for name, tool in now.items():
            runner.tools[name] = tool

    def _tell(self, code: str, text: str) -> None:
        if self._emit is None:
            self._notice(code, text)
            return
        from agent.events import Notice

        self._emit(Notice(level="warning", code=code, text=text))


def servers_of(
    servers: Iterable[ServerSettings],
    *,
    cwd: Path,
    state: Path,
    env: Mapping[str, str],
    start_s: float,
    notice: Callable[[str, str], None],
    redact: Callable[[str], str],
    changed: Callable[[], str] = str,
) -> Servers:
    """The servers of a configuration, none of them started. `changed` as in `Place`."""
    place = Place(cwd, state / "mcp", env, changed)
    return Servers(servers, place, start_s=start_s, notice=notice, redact=redact)
