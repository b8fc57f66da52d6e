"""grep: lines by content."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

from agent.llm.request import ToolSpec
from agent.tools.base import Kind, Tool, ToolContext, ToolError, ToolResult


class Grep(Tool):
    """Finds lines that match a regular expression, with ripgrep where it is installed, else with Python's `re`."""

    kind: ClassVar[Kind] = "search"
    read_only: ClassVar[bool] = True
    spec: ClassVar[ToolSpec] = ToolSpec(
        name="grep",
        description=(
            "Search the contents of files for a regular expression, line by line; put (?i) in front to ignore case. Results are "
            "path:line:text, sorted by path, at most 200. What git ignores and binary files are left out."
        ),
        parameters={
            "type": "object",
            "properties": {
                "pattern": {"type": "string", "minLength": 1, "description": "A regular expression."},
                "path": {"type": "string", "description": "File or folder to search; the working folder if not given."},
            },
            "required": ["pattern"],
            "additionalProperties": False,
        },
    )

    def __init__(self, *, ripgrep: str | None = None) -> None:
        """`ripgrep` is the program to use; by default it is looked for on PATH. An empty string: never."""
        self._ripgrep = ripgrep

    def title(self, arguments: dict[str, Any]) -> str:
        """One line for people."""
        where = f" in {path}" if (path := arguments.get("path")) else ""
        return f"grep {arguments.get('pattern', '')}{where}"

    def path(self, arguments: dict[str, Any]) -> str:
        """The file or folder that is searched."""
        return arguments.get("path") or "."

    async def run(self, context: ToolContext, arguments: dict[str, Any]) -> ToolResult:
        """The matching lines. Raises ToolError for an expression that is none and for a path that does not exist."""
        pattern, asked = arguments["pattern"], arguments.get("path") or "."
        if "\0" in pattern or "\n" in pattern:
            raise ToolError("the pattern has a line break or a NUL in it; lines are searched one by one")
        target = context.resolve(asked)
        if not target.exists():
            from agent.tools.lib.files import not_found

            raise ToolError(not_found(context, target))
        from agent.tools.lib.search import search

        return ToolResult(await search(context, target, pattern, await self._program(context)))

    async def _program(self, context: ToolContext) -> str:
        if self._ripgrep is None:
            from agent.process.children import program

            self._ripgrep = await asyncio.to_thread(program, "rg", project=context.cwd) or ""
        return self._ripgrep
