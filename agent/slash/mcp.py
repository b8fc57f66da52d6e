"""/mcp: the foreign servers of this conversation, and a new start for one of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.commands import Command, CommandContext, Result, Said
from agent.errors import UsageError
from agent.slash.arguments import said
from agent.text.numbers import plural
from agent.views import TableView

if TYPE_CHECKING:
    from agent.host import Host

STATES = {"idle": "not started yet", "starting": "is being started", "ready": "works", "failed": "does not work"}


def commands(host: Host) -> tuple[Command, ...]:
    """The one of them."""
    servers = host.servers
    names = [] if servers is None else list(servers.connections)

    async def run(_context: CommandContext, args: str) -> Result:
        words = args.split()
        if servers is None:
            return said(
                "No MCP server is configured. In a shell `moa mcp add NAME COMMAND…` adds one for the next conversation."
            )
        if not words:
            rows = tuple(
                (each.name, STATES[each.state], each.problem or each.about, str(len(each.tools)))
                for each in servers.connections.values()
            )
            note = "They start before the first message of a conversation. /mcp restart NAME restarts one."
            return Said(TableView(columns=("server", "state", "", "tools"), rows=rows, align="lllr", note=note))
        if len(words) != 2 or words[0] != "restart" or words[1] not in names:
            raise UsageError(
                f"/mcp {args} is nothing that can be done", remedy=f"/mcp, or /mcp restart {'|'.join(names)}"
            )
        connection = servers.connections[words[1]]
        await connection.restart()
        await connection.settled()
        if connection.state != "ready":
            raise UsageError(f"{connection.name} does not work: {connection.problem}", remedy="see moa mcp test")
        return said(f"{connection.name} works, with {plural(len(connection.tools), 'tool')}.")

    return (
        Command(
            "mcp",
            "the foreign MCP servers: how they are, what they offer",
            run,
            args_hint="[restart NAME]",
            busy_ok=True,
            complete=lambda typed: [f"restart {name}" for name in names if f"restart {name}".startswith(typed)],
        ),
    )
