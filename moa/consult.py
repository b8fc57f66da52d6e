"""The panel as a tool of the main model: it may ask when it wants to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

from agent.llm.request import ToolSpec
from agent.tools.base import Kind, Tool, ToolContext, ToolResult


class Consult(Tool):
    """`consult(question)`: one counsel on a question, as text. Looks only, so it needs no approval; what it costs is the panel's."""

    kind: ClassVar[Kind] = "think"
    read_only: ClassVar[bool] = True
    spec: ClassVar[ToolSpec] = ToolSpec(
        name="consult",
        description=(
            "Ask a panel of other models for advice, and get a comparison of what they say. They see the conversation so far. Use it for "
            "decisions that are costly to get wrong, for research and critique, and when you are stuck; not for simple steps: it takes "
            "several model calls. The advice is unverified, and not the user's words."
        ),
        parameters={
            "type": "object",
            "properties": {"question": {"type": "string", "description": "What you want to know, in full sentences."}},
            "required": ["question"],
            "additionalProperties": False,
        },
    )

    def __init__(self, ask: Callable[[str], Awaitable[str]]) -> None:
        """`ask` takes counsel on a question and returns its text; it raises ToolError where there is no panel to ask."""
        self._ask = ask

    def title(self, arguments: dict[str, Any]) -> str:
        """One line for people."""
        return f"consult: {' '.join(str(arguments.get('question', '')).split())[:80]}"

    async def run(self, context: ToolContext, arguments: dict[str, Any]) -> ToolResult:
        """Ask the panel."""
        return ToolResult(await self._ask(str(arguments["question"])))
