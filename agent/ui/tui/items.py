"""What a transcript is made of, as plain values: a face's model of the conversation, without a widget.

Items are made from events as they come, and from a session's history when it is opened again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from agent.chatevents import Opened
from agent.events import TodoItem
from agent.llm.messages import ImagePart, Message, ToolCallPart
from agent.ui.tui.streaming import Streaming
from agent.views import View

Outcome = Literal["running", "ok", "error", "denied", "cancelled"]


@dataclass(slots=True, eq=False, kw_only=True)
class Item:
    """One entry. `open`: what it folds away is shown."""

    open: bool = False


@dataclass(slots=True, eq=False, kw_only=True)
class Typed(Item):
    """What the user said. `how` tells where it came from, unless it was typed for a new turn."""

    text: str
    images: int = 0
    how: str = ""


@dataclass(slots=True, eq=False, kw_only=True)
class Answer(Item):
    """What the main model said. `mark` says what is wrong with it, in a few words; `live` holds it while it is written."""

    text: str = ""
    mark: str = ""
    draft: str | None = None
    """Why it was superseded, where it was."""
    live: Streaming | None = None


@dataclass(slots=True, eq=False, kw_only=True)
class Thought(Item):
    """What the main model thought aloud."""

    text: str = ""
    live: bool = False
    seconds: float | None = None


@dataclass(slots=True, eq=False, kw_only=True)
class ToolRun(Item):
    """A tool's call and what came of it. `progress` is the end of its output so far."""

    id: str
    title: str
    outcome: Outcome = "running"
    text: str = ""
    diff: str | None = None
    seconds: float = 0.0
    progress: str = ""


@dataclass(slots=True, eq=False, kw_only=True)
class Note(Item):
    """Something to know. `remedy`: what can be done about it."""

    level: Literal["faint", "info", "warning", "error"]
    text: str
    remedy: str | None = None


@dataclass(slots=True, eq=False, kw_only=True)
class CounselTaken(Item):
    """A counsel's record."""

    data: Mapping[str, Any]

    @property
    def id(self) -> str:
        """The counsel's id."""
        return str(self.data.get("id", ""))


@dataclass(slots=True, eq=False, kw_only=True)
class Todo(Item):
    """The agent's list, and what it was before."""

    items: tuple[TodoItem, ...]
    before: tuple[TodoItem, ...] = ()


@dataclass(slots=True, eq=False, kw_only=True)
class Showing(Item):
    """A command's answer."""

    command: str
    view: View


@dataclass(slots=True, eq=False, kw_only=True)
class History:
    """Items of messages that were kept, tool results joined to their calls."""

    items: list[Item] = field(default_factory=list)
    _calls: dict[str, ToolRun] = field(default_factory=dict)

    def add(self, message: Message) -> None:
        """One message more."""
        match message.role:
            case "user":
                self.items.append(user_item(message))
            case "assistant":
                self.items += self._assistant(message)
            case "tool":
                self._result(message)
            case _:
                pass

    def _assistant(self, message: Message) -> Iterator[Item]:
        if message.reasoning.strip():
            yield Thought(text=message.reasoning)
        if message.text.strip():
            yield Answer(text=message.text, mark="not complete" if message.incomplete else "")
        for call in message.tool_calls:
            run = ToolRun(id=call.id, title=call_title(call), outcome="cancelled")
            self._calls[call.id] = run
            yield run

    def _result(self, message: Message) -> None:
        run = self._calls.get(message.tool_call_id or "")
        if run is None:
            return
        run.text = message.text
        run.outcome = "error" if message.is_error else "ok"


def of_session(opened: Opened) -> list[Item]:
    """Everything that there is to show of a session, in order."""
    history = History()
    places: dict[int, list[Item]] = {}
    for record in opened.records:
        data = record.get("data")
        if record.get("kind") == "counsel" and isinstance(data, Mapping):
            after = record.get("after")
            place = after if isinstance(after, int) else len(opened.history)
            places.setdefault(place, []).append(CounselTaken(data=data))
    for number, message in enumerate(opened.history, 1):
        history.add(message)
        history.items += places.pop(number, [])
    for late in places.values():
        history.items += late
    if any(item.status != "done" for item in opened.todo):
        history.items.append(Todo(items=opened.todo))
    return history.items


def user_item(message: Message, how: str = "") -> Item:
    """A message of role user: typed, or written by the program."""
    if message.synthetic == "shell":
        return ToolRun(id="", title="shell", outcome="ok", text=message.text, open=True)
    if message.synthetic == "summary":
        return ToolRun(id="", title="summed up here, to make room", outcome="ok", text=message.text)
    if message.synthetic == "continuation":
        return Note(level="faint", text=f"continuation: {' '.join(message.text.splitlines()[:1])}")
    if message.synthetic is not None:
        return Note(level="faint", text=f"{message.synthetic}: {message.text}")
    images = sum(isinstance(part, ImagePart) for part in message.parts)
    return Typed(text=message.text, images=images, how=how)


def call_title(call: ToolCallPart) -> str:
    """A call in a few words, where no tool says it better: its name and its first argument."""
    try:
        arguments = json.loads(call.arguments)
    except ValueError:
        return call.name
    values: Sequence[Any] = list(arguments.values()) if isinstance(arguments, dict) else []
    return f"{call.name} {values[0]}" if values and isinstance(values[0], str | int) else call.name
