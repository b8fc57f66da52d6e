"""What happens in a conversation, as an editor is told of it (`session/update`)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

from acp import helpers, schema

from agent import events
from agent.approval.approval import ApprovalRequest
from agent.approval.question import arguments, reason
from agent.commands import Command
from agent.llm.messages import Message, ToolCallPart
from agent.text import foreign_json
from agent.text.cleaning import harmless, visible
from agent.text.numbers import span
from agent.tools.base import Kind

STATES: dict[str, Literal["pending", "in_progress", "completed"]] = {
    "pending": "pending",
    "in_progress": "in_progress",
    "done": "completed",
}
MOST_OUTPUT = 20_000
"""Characters of a tool's output that an editor is shown."""
_HUNK = re.compile(r"^@@ -\d+(?:,\d+)? \+\d+(?:,\d+)? @@", re.MULTILINE)

Update = Any
"""One of the update types of `acp.schema`."""


class Updates:
    """Translates the events of one conversation. It remembers who is at work, because a plan is always told whole."""

    def __init__(self, cwd: Path, kind: Callable[[str], Kind]) -> None:
        """`kind` says of a tool, by its name, how its calls are drawn."""
        self._cwd = cwd
        self._kind = kind
        self._members: dict[str, tuple[str, str, bool]] = {}
        self._todo: tuple[events.TodoItem, ...] = ()
        self._asked: set[str] = set()

    def of(self, event: object) -> Iterator[Update]:
        """The updates of an event; none for most."""
        match event:
            case events.TextDeltaEvent(source="main"):
                yield helpers.update_agent_message_text(event.text)
            case events.ReasoningDeltaEvent(source="main"):
                yield helpers.update_agent_thought_text(event.text)
            case events.ToolStarted():
                yield self._started(event.call, event.title)
            case events.ToolFinished():
                yield self._finished(event)
            case events.SideStarted() | events.SideProgress() | events.SideFinished():
                yield from self._side(event)
            case events.TodoChanged():
                self._todo = event.items
                yield self.plan()
            case events.Record() if event.line:
                yield helpers.update_agent_thought_text(f"{event.line}\n")
            case events.Notice() if event.level != "info" or event.code in ("greeting", "circumstances"):
                yield helpers.update_agent_thought_text(f"{event.text}\n")
            case events.DraftSuperseded():
                yield helpers.update_agent_thought_text(f"The reply above is a draft: {event.reason}.\n")
            case events.TurnStarted():
                self._members.clear()
            case _:
                pass

    def permission(self, request: ApprovalRequest) -> schema.ToolCallUpdate:
        """The call that the user is asked about: what it would change, else all that it says, with what can't be seen written out. The
        editor has not heard of it before."""
        call = request.call
        self._asked.add(call.id)
        said = "\n".join(f"{name}: {text}" if name else text for name, text in arguments(request))
        update = schema.ToolCallUpdate(
            tool_call_id=call.id,
            title=request.title,
            kind=self._kind(call.name),
            status="pending",
            content=[
                *(self._changes(call, request.diff) or [helpers.tool_content(helpers.text_block(said))]),
                *([helpers.tool_content(helpers.text_block(why))] if (why := reason(request)) else []),
            ],
            locations=self._places(call) or None,
            raw_input=_arguments(call),
        )
        shown: schema.ToolCallUpdate = cleaned(update, visible)
        return shown

    def history(self, messages: Iterable[Message]) -> Iterator[Update]:
        """A conversation that is opened again."""
        for message in messages:
            if message.role == "user" and message.synthetic is None:
                yield helpers.update_user_message_text(message.typed)
            elif message.role == "assistant":
                if message.reasoning.strip():
                    yield helpers.update_agent_thought_text(message.reasoning)
                if message.text:
                    yield helpers.update_agent_message_text(message.text)
                for call in message.tool_calls:
                    yield self._started(call, call.name)
            elif message.role == "tool" and message.tool_call_id:
                yield helpers.update_tool_call(
                    message.tool_call_id,
                    status="failed" if message.is_error else "completed",
                    content=[helpers.tool_content(helpers.text_block(_cut(message.text)))],
                )

    def plan(self) -> Update:
        """Who is at work, and the agent's todo list."""
        entries = [
            helpers.plan_entry(f"{label}: {state}", status="completed" if over else "in_progress")
            for label, state, over in self._members.values()
        ]
        entries += [helpers.plan_entry(item.text, status=STATES[item.status]) for item in self._todo]
        return helpers.update_plan(entries)

    def _side(self, event: events.SideStarted | events.SideProgress | events.SideFinished) -> Iterator[Update]:
        if isinstance(event, events.SideStarted):
            self._members[event.id] = (f"{event.label} ({event.model})", "asked", False)
        elif event.id in self._members:
            label, state, _over = self._members[event.id]
            if isinstance(event, events.SideFinished):
                why = f": {event.error.message}" if event.error is not None else ""
                self._members[event.id] = (label, f"{event.outcome}{why} ({span(event.duration_s, exact=True)})", True)
            elif state == event.state:
                return  # only its last words have changed: a plan is too large for that
            else:
                self._members[event.id] = (label, event.state.replace("_", " "), False)
        yield self.plan()

    def _started(self, call: ToolCallPart, title: str) -> Update:
        if call.id in self._asked:
            return helpers.update_tool_call(call.id, status="in_progress")
        return helpers.start_tool_call(
            call.id,
            title or call.name,
            kind=self._kind(call.name),
            status="in_progress",
            locations=self._places(call),
            raw_input=_arguments(call),
        )

    def _finished(self, event: events.ToolFinished) -> Update:
        content: list[Any] = self._changes(event.call, event.diff)
        content.append(helpers.tool_content(helpers.text_block(_cut(event.text))))
        known = helpers.update_tool_call(
            event.call.id, status="completed" if event.outcome == "ok" else "failed", content=content
        )
        if event.outcome != "denied" or event.call.id in self._asked:
            return known
        # Refused before it started: the editor has not heard of it.
        return helpers.start_tool_call(
            event.call.id, event.call.name, kind=self._kind(event.call.name), status="failed", content=content
        )

    def _places(self, call: ToolCallPart) -> list[schema.ToolCallLocation]:
        path = _arguments(call).get("path")
        return [schema.ToolCallLocation(path=str(self._cwd / path))] if isinstance(path, str) and path else []

    def _changes(self, call: ToolCallPart, diff: str | None) -> list[Any]:
        """Each hunk of a unified diff as the text before and after, which is what editors draw."""
        places = self._places(call)
        if not diff or not places:
            return []
        return [helpers.tool_diff_content(places[0].path, new, old) for old, new in hunks(diff)]


def cleaned(update: Update, clean: Callable[[str], str] = harmless) -> Update:
    """An update without what could steer a terminal or turn the direction of writing: whatever a model, a tool or a file brought."""
    return type(update).model_validate(_each(update.model_dump(), clean))


def _each(value: Any, clean: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {clean(name) if isinstance(name, str) else name: _each(item, clean) for name, item in value.items()}
    return [_each(item, clean) for item in value] if isinstance(value, list | tuple) else value


def hunks(diff: str) -> Iterator[tuple[str, str]]:
    """The old and the new text of each hunk of a unified diff."""
    starts = [found.start() for found in _HUNK.finditer(diff)]
    for start, end in zip(starts, [*starts[1:], len(diff)], strict=True):
        lines = diff[start:end].splitlines()[1:]
        old = "\n".join(line[1:] for line in lines if line[:1] in (" ", "-"))
        new = "\n".join(line[1:] for line in lines if line[:1] in (" ", "+"))
        yield old, new


def commands(table: dict[str, Command]) -> Update:
    """The slash commands, for the editor's menu."""
    return helpers.update_available_commands(
        schema.AvailableCommand(
            name=command.name,
            description=command.summary,
            input=schema.UnstructuredCommandInput(hint=command.args_hint) if command.args_hint else None,
        )
        for command in table.values()
    )


def _arguments(call: ToolCallPart) -> dict[str, Any]:
    try:
        found = foreign_json.loads(call.arguments)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _cut(text: str) -> str:
    return (
        text if len(text) <= MOST_OUTPUT else f"{text[:MOST_OUTPUT]}\n… ({len(text) - MOST_OUTPUT:,} characters more)"
    )
