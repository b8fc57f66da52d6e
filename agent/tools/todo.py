"""todo: the agent's own list of what is to be done, shown to the user while it works."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from agent.events import TodoChanged, TodoItem
from agent.llm.request import ToolSpec
from agent.tools.base import Kind, Tool, ToolContext, ToolError, ToolResult
from agent.tools.lib.validate import validate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.llm.messages import Message
    from agent.session.session import Session

STATE = "todo"
"""Under this name the list is kept in the session."""
MARKS = {"pending": "☐", "in_progress": "◐", "done": "☑"}


class Todo(Tool):
    """Replaces the list. It changes nothing but what is shown, so it needs no approval."""

    kind: ClassVar[Kind] = "think"
    of_session: ClassVar[bool] = True
    read_only: ClassVar[bool] = True
    spec: ClassVar[ToolSpec] = ToolSpec(
        name="todo",
        description=(
            "Keep a list of the steps of a longer task, for yourself and for the user who watches. Each call gives the whole list again, in "
            "order. Use it for work of three steps or more; keep one item in_progress, and mark an item done as soon as it is."
        ),
        parameters={
            "type": "object",
            "properties": {
                "items": {
                    "type": "array",
                    "maxItems": 50,
                    "description": "The whole list; empty to take it away.",
                    "items": {
                        "type": "object",
                        "properties": {
                            "text": {"type": "string", "minLength": 1, "description": "The step, in a few words."},
                            "status": {"type": "string", "enum": ["pending", "in_progress", "done"]},
                        },
                        "required": ["text", "status"],
                        "additionalProperties": False,
                    },
                }
            },
            "required": ["items"],
            "additionalProperties": False,
        },
    )

    def __init__(self, session: Session) -> None:
        self._session = session

    def title(self, arguments: dict[str, Any]) -> str:
        """One line for people."""
        items = arguments.get("items", [])
        done = sum(item.get("status") == "done" for item in items)
        return f"todo {done} of {len(items)} done" if items else "todo (none)"

    async def run(self, context: ToolContext, arguments: dict[str, Any]) -> ToolResult:
        """Keep the list with the session and show it. Raises StateError where the session can't be written."""
        items = tuple(TodoItem(text=item["text"], status=item["status"]) for item in arguments["items"])
        self._session.set_state(STATE, {"items": arguments["items"]})
        context.emit(TodoChanged(items=items))
        lines = [f"{MARKS[item.status]} {item.text}" for item in items]
        return ToolResult("\n".join(lines) or "the list is empty")


def rewind(session: Session, undone: Sequence[Message]) -> None:
    """After messages were taken back: the list as it was before them. Raises StateError."""
    if not any(call.name == Todo.spec.name for message in undone for call in message.tool_calls):
        return
    calls = [call for message in session.transcript() for call in message.tool_calls if call.name == Todo.spec.name]
    for call in reversed(calls):
        try:
            items = validate(call.arguments, Todo.spec)["items"]
        except ToolError:
            continue  # as it was refused then
        session.set_state(STATE, {"items": items})
        return
    session.set_state(STATE, {"items": []})


def kept(session: Session) -> tuple[TodoItem, ...]:
    """The list as the session has it."""
    items = (session.get_state(STATE) or {}).get("items", [])
    return tuple(TodoItem(text=item["text"], status=item["status"]) for item in items)
