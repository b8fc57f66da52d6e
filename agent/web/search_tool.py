"""web_search: results of a search engine, numbered."""

from __future__ import annotations

from typing import Any, ClassVar

from agent.llm.request import ToolSpec
from agent.tools.base import Subject, ToolContext, ToolError, ToolResult
from agent.web.tool import WebTool

LONGEST = 1_000


class WebSearch(WebTool):
    """Searches the web for who asks. It changes nothing, but what is searched for goes out: approval asks, unless `granted`."""

    spec: ClassVar[ToolSpec] = ToolSpec(
        name="web_search",
        description=(
            "Search the web: titles, addresses and excerpts, each with a [number] that you can name as a source. Use it for what is newer than "
            "your knowledge, and for facts that have to be right. The query goes to a search engine: put nothing confidential in it."
        ),
        parameters={
            "type": "object",
            "properties": {
                "query": {"type": "string", "minLength": 1, "maxLength": LONGEST, "description": "What to search for."}
            },
            "required": ["query"],
            "additionalProperties": False,
        },
    )

    def title(self, arguments: dict[str, Any]) -> str:
        """One line for people."""
        return f"search the web: {' '.join(str(arguments.get('query', '')).split())[:120]}"

    def subject(self, arguments: dict[str, Any]) -> Subject:
        """A yes holds for the tool: no second query is the same."""
        return Subject(self.spec.name, "text", None, {})

    async def run(self, context: ToolContext, arguments: dict[str, Any]) -> ToolResult:
        """Search. Raises ToolError."""
        query = " ".join(str(arguments["query"]).split())
        if context.redact(query) != query:
            raise ToolError("there is a configured key in the query; nothing was sent")
        return ToolResult(await self._web.search(query, self._asker))
