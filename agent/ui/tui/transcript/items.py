"""What a transcript is made of, as plain values: a face's model of the conversation, without a widget.

Items are made from events as they come, and from a session's history when it is opened again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from agent.chat.events import Opened
from agent.events import Notice, Record, TodoItem, TurnFinished
from agent.llm.messages import ImagePart, Message, ToolCallPart
from agent.session.seen import ToolSeen
from agent.text import foreign_json
from agent.ui import words
from agent.ui.tui.transcript.streaming import Streaming
from agent.views import View

Outcome = Literal["running", "ok", "error", "denied", "cancelled"]


@dataclass(slots=True, eq=False, kw_only=True)
class Item:
    """One entry. `open`: what it folds away is shown."""

    open: bool = False

    @property
    def folds(self) -> bool:
        """Whether there is something that it folds away."""
        return False


@dataclass(slots=True, eq=False, kw_only=True)
class Typed(Item):
    """What the user said. `how` tells where it came from, unless it was typed for a new turn. `sent` is the message that a command
    made of it, where that says something else."""

    text: str
    sent: str = ""
    images: int = 0
    how: str = ""

    @property
    def folds(self) -> bool:
        """What was sent."""
        return bool(self.sent)


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

    @property
    def folds(self) -> bool:
        """The thought, once it is whole."""
        return not self.live


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

    @property
    def folds(self) -> bool:
        """Its output."""
        return True


@dataclass(slots=True, eq=False, kw_only=True)
class Note(Item):
    """Something to know. `remedy`: what can be done about it."""

    level: Literal["faint", "info", "warning", "error"]
    text: str
    remedy: str | None = None


@dataclass(slots=True, eq=False, kw_only=True)
class Recorded(Item):
    """What a plugin has recorded, in its own line."""

    record: Record


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


@dataclass(slots=True, eq=False)
class History:
    """Items of messages that were kept, tool results joined to their calls."""

    seen: dict[str, list[ToolSeen]] = field(default_factory=dict)
    """How calls ran, by their ids, where that was kept; some endpoints give the same id again in a later turn."""
    ended: bool = False
    """Ends of turns are shown by themselves."""
    items: list[Item] = field(default_factory=list)
    _calls: dict[str, ToolRun] = field(default_factory=dict)

    def add(self, message: Message) -> None:
        """One message more."""
        match message.role:
            case "user" if message.synthetic == "notice" or (self.ended and message.synthetic == "interrupted"):
                pass  # for the model; people have seen the change, and how the turn ended
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
            mark = "not complete" if message.incomplete else ""
            yield Answer(text=message.text, mark=mark, draft="held back" if message.draft else None)
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
        if kept := self.seen.get(run.id):
            seen = kept.pop(0)
            run.title, run.outcome = seen.title or run.title, seen.outcome
            run.diff, run.seconds = seen.diff, seen.duration_s


def of_session(opened: Opened) -> list[Item]:
    """Everything that there is to show of a session, in order: as it was when it happened."""
    history = History()
    places: dict[int, list[Item]] = {}
    for record, after in opened.records:
        if record.line:
            places.setdefault(after, []).append(Recorded(record=record))
    for seen, after in opened.seen:
        match seen:
            case Notice():
                places.setdefault(after, []).append(Note(level=seen.level, text=seen.text))
            case TurnFinished():
                places.setdefault(after, []).extend(end_items(seen))
                history.ended = True
            case ToolSeen():
                history.seen.setdefault(seen.id, []).append(seen)
    for number, message in enumerate(opened.history, 1):
        history.add(message)
        history.items += places.pop(number, [])
    for late in places.values():
        history.items += late
    if any(item.status != "done" for item in opened.todo):
        history.items.append(Todo(items=opened.todo))
    return history.items


def end_items(event: TurnFinished) -> Iterator[Item]:
    """How a turn ended, and what it came to."""
    if event.error is not None:
        mild = event.status in ("interrupted", "budget", "limit", "unmet")
        yield Note(level="warning" if mild else "error", text=event.error.message, remedy=event.error.remedy)
    if event.iterations:
        yield Note(level="faint", text=words.came_to(event))


def user_item(message: Message, how: str = "") -> Item:
    """A message of role user: typed, or written by the program."""
    if message.synthetic == "shell":
        return ToolRun(id="", title="shell", outcome="ok", text=message.text, open=True)
    if message.synthetic == "report":
        return ToolRun(id="", title="told the model", outcome="ok", text=message.text)
    if message.synthetic == "summary":
        return ToolRun(id="", title="summarized here, to free up context", outcome="ok", text=message.text)
    if message.synthetic == "continuation":
        return Note(level="faint", text=f"continuation: {' '.join(message.text.splitlines()[:1])}")
    if message.synthetic is not None:
        return Note(level="faint", text=f"{message.synthetic}: {message.text}")
    images = sum(isinstance(part, ImagePart) for part in message.parts)
    sent = "" if message.typed.endswith(message.text) else message.text
    return Typed(text=message.typed, sent=sent, images=images, how=how)


def call_title(call: ToolCallPart) -> str:
    """A call in a few words, where no tool says it better: its name and its first argument."""
    try:
        arguments = foreign_json.loads(call.arguments)
    except ValueError:
        return call.name
    values: Sequence[Any] = list(arguments.values()) if isinstance(arguments, dict) else []
    return f"{call.name} {values[0]}" if values and isinstance(values[0], str | int) else call.name
