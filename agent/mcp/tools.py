"""The tools of foreign servers as tools of the agent: each by itself, and the one listed tool that reaches those that came later."""

from __future__ import annotations

import fnmatch
import json
import re
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import unquote

from agent.files.deny_paths import denial
from agent.llm.request import ToolSpec
from agent.mcp.results import rendered
from agent.text.cleaning import harmless, visible
from agent.text.encodable import whole
from agent.text.numbers import plural
from agent.tools.base import Kind, Subject, Tool, ToolContext, ToolError, ToolResult
from agent.tools.lib.validate import validate

if TYPE_CHECKING:
    from agent.mcp.connection import Connection
    from agent.mcp.names import RemoteTool

MCP = "mcp"
MOST_LISTED = 40_000
"""Characters of a listing."""


class ForeignTool(Tool):
    """One tool of a server, under a name that requests can have. Approval sees `mcp(SERVER/TOOL)`, as for `Mcp`."""

    kind: ClassVar[Kind] = "other"
    from_server: ClassVar[bool] = True
    """It may come and go: a conversation that was begun without it does not list it."""

    def __init__(self, connection: Connection, tool: RemoteTool) -> None:
        self.connection = connection
        self.remote = tool

    @property
    def spec(self) -> ToolSpec:
        """As requests list it."""
        return self.remote.spec

    @property
    def read_only(self) -> bool:
        """Only by the user's word: what a server says of its own tools is a claim."""
        return only_looks(self.connection, self.remote.name)

    def subject(self, arguments: dict[str, Any]) -> Subject:
        """The tool by its server's name for it."""
        about = {"server": self.connection.name, "tool": self.remote.name, "arguments": arguments}
        return Subject(MCP, "name", f"{self.connection.name}/{self.remote.name}", about)

    def title(self, arguments: dict[str, Any]) -> str:
        """One line for people."""
        return _title(self.connection.name, self.remote.name, arguments)

    async def run(self, context: ToolContext, arguments: dict[str, Any]) -> ToolResult:
        """Call it."""
        return await _call(self.connection, self.remote.name, arguments, context)


class Mcp(Tool):
    """`mcp(server, tool, arguments)`: what the foreign servers have, and a call of it, whenever it came."""

    kind: ClassVar[Kind] = "other"
    read_only: ClassVar[bool] = False

    def __init__(self, connections: Mapping[str, Connection]) -> None:
        self._connections = connections
        named = ", ".join(connections)
        self._spec = ToolSpec(
            name=MCP,
            description=(
                f"The tools of the foreign MCP servers that the user has configured ({named}). Most of them are listed as tools of their own "
                "(mcp__SERVER__TOOL): use those. This one reaches the others, which came after this conversation began. With server alone: which "
                "tools it has and which arguments they take; a server that is still being started is waited for. With server, tool and "
                "arguments: the call."
            ),
            parameters={
                "type": "object",
                "properties": {
                    "server": {"type": "string", "description": "The server's name; absent: all servers."},
                    "tool": {"type": "string", "description": "The tool's name; absent: a list of the server's tools."},
                    "arguments": {"type": "object", "description": "The tool's arguments."},
                },
                "additionalProperties": False,
            },
        )

    @property
    def spec(self) -> ToolSpec:
        """As requests list it, with the servers' names: a model can't ask for one that it has never heard of."""
        return self._spec

    def reads_only(self, arguments: dict[str, Any]) -> bool:
        """A listing, and a call of a tool that only looks by the user's word."""
        server, tool = arguments.get("server"), arguments.get("tool")
        if not tool:
            return True
        connection = self._connections.get(str(server))
        found = connection.find(str(tool)) if connection is not None else None
        return connection is not None and found is not None and only_looks(connection, found.name)

    def subject(self, arguments: dict[str, Any]) -> Subject:
        """The tool by its server's name for it, whichever name was used."""
        server, tool = arguments.get("server"), arguments.get("tool")
        connection = self._connections.get(str(server))
        found = connection.find(str(tool)) if connection is not None else None
        tool = found.name if found is not None else tool
        named = f"{server}/{tool}" if isinstance(server, str) and isinstance(tool, str) else None
        return Subject(MCP, "text" if named is None else "name", named, {**arguments, "tool": tool})

    def title(self, arguments: dict[str, Any]) -> str:
        """One line for people."""
        server, tool = str(arguments.get("server") or "all servers"), str(arguments.get("tool") or "its tools")
        return _title(server, tool, arguments.get("arguments") or {})

    async def run(self, context: ToolContext, arguments: dict[str, Any]) -> ToolResult:
        """List, or call."""
        server, tool = arguments.get("server"), arguments.get("tool")
        if server is None and tool is None:
            return ToolResult(_cut("\n\n".join(map(_listing, self._connections.values()))))
        connection = self._connections.get(str(server))
        if connection is None:
            there = ", ".join(self._connections)
            raise ToolError(f"there is no MCP server {server!r}. There are: {there}")
        if connection.state == "starting":
            await connection.settled()
        if not tool:
            return ToolResult(_cut(_listing(connection)))
        found = connection.find(str(tool))
        if found is None:
            if connection.state == "failed":
                raise ToolError(f"the MCP server {server} is not there: {connection.problem}")
            names = ", ".join(each.name for each in connection.tools) or "none"
            raise ToolError(f"the MCP server {server} has no tool {tool!r}. It has: {names}")
        checked = validate(json.dumps(arguments.get("arguments") or {}), found.spec)
        return await _call(connection, found.name, checked, context)


def only_looks(connection: Connection, tool: str) -> bool:
    """Whether the user has said of a tool that it only looks (`read_only` of its server)."""
    return any(fnmatch.fnmatchcase(tool, pattern) for pattern in connection.settings.read_only)


async def _call(connection: Connection, tool: str, arguments: dict[str, Any], context: ToolContext) -> ToolResult:
    for text in _strings(arguments):
        _check_path(text, context)
    result = await connection.call(tool, arguments, context.progress)
    file = context.scratch / f"mcp-{connection.name}-{secrets.token_hex(4)}.txt"
    text, kept = rendered(result.content, result.structured_content, file)
    return ToolResult(whole(text), is_error=bool(result.is_error), full_output=kept)


def _check_path(text: str, context: ToolContext) -> None:
    """An argument that is a path, wherever it stands: what is denied, or private and not allowed by the user for this very call, goes to no
    server. Raises ToolError."""
    if not text or len(text) > 4_096 or "\n" in text:
        return
    try:
        asked = context.cwd / Path(_local(text)).expanduser()
        pattern = context.deny_paths.match(asked)
        private = context.deny_paths.fence.why_private(asked.resolve()) or context.deny_paths.fence.why_private(asked)
    except (OSError, RuntimeError, ValueError):
        return  # no path at all
    if pattern:
        raise ToolError(denial(text, pattern))
    if private and not context.seen_by_user:
        raise ToolError(
            f"{text} is handed to a server only with the user's own word for this very call, because {private}"
        )


def _local(text: str) -> str:
    """The path that an address of a file stands for, with its escapes read; any other text as it is."""
    if not text.lower().startswith("file:"):
        return text
    return unquote(re.sub(r"^file:(?://(?:localhost)?(?=/)|//)?", "", text, flags=re.IGNORECASE))


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, item in value.items():
            yield name
            yield from _strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)


def _title(server: str, tool: str, arguments: Mapping[str, Any]) -> str:
    try:
        told = json.dumps(arguments, ensure_ascii=False) if arguments else ""
    except (TypeError, ValueError):
        told = "…"
    line = visible(f"{server}: {tool} {told}".strip())
    return line if len(line) <= 300 else f"{line[:299]}…"


def _listing(connection: Connection) -> str:
    if connection.state == "starting":
        return f"{connection.name}: is being started"
    if connection.state == "failed":
        return f"{connection.name}: is not there ({connection.problem})"
    lines = [f"{connection.name}: {plural(len(connection.tools), 'tool')}"]
    for tool in connection.tools:
        schema = json.dumps(tool.spec.parameters, ensure_ascii=False)
        lines.append(f"- {harmless(tool.name)}: {tool.spec.description.splitlines()[0]}\n  arguments: {schema}")
    return "\n".join(lines)


def _cut(text: str) -> str:
    if len(text) <= MOST_LISTED:
        return text
    return f"{text[:MOST_LISTED]}\n… (cut; name a server to see its tools alone)"
