"""From events to items: what a conversation looks like so far, without a widget."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import monotonic

from agent.chat.events import ChatEvent, Refused, Shown
from agent.events import (
    Compacted,
    DraftSuperseded,
    ModelFinished,
    ModelRetrying,
    Notice,
    ReasoningDeltaEvent,
    Record,
    SideStarted,
    Steered,
    TextDeltaEvent,
    TodoChanged,
    ToolFinished,
    ToolProgress,
    ToolStarted,
    TurnFinished,
    TurnStarted,
)
from agent.text.numbers import span
from agent.ui import words
from agent.ui.tui.transcript.items import (
    Answer,
    Item,
    Note,
    Recorded,
    Showing,
    Thought,
    Todo,
    ToolRun,
    call_title,
    end_items,
    user_item,
)
from agent.ui.tui.transcript.render import MAX_ANSWER
from agent.ui.tui.transcript.streaming import Streaming

MAX_PROGRESS = 1_000
"""Characters of a running tool's output that are kept: enough for its last line."""


@dataclass(slots=True)
class Change:
    """What an event did: items that are new, in order, and items that look different."""

    new: list[Item] = field(default_factory=list)
    changed: list[Item] = field(default_factory=list)
    to_bottom: bool = False
    """The user did something: show it."""


MEMBER = "reference"
"""The kind of side work whose tool calls stand in the transcript, too: what such a one reads goes to somebody else's endpoint."""


class Teller:
    """The items of a conversation. It ignores what belongs to side work: that has a face of its own, the panel."""

    def __init__(self, items: Sequence[Item] = (), *, now: Callable[[], float] = monotonic) -> None:
        self.items = list(items)
        self._now = now
        self._side: dict[str, str] = {}
        """Who is at work beside the main model, by id; empty where what it does is the panel's alone to show."""
        self._answer: Answer | None = None
        self._thought: Thought | None = None
        self._thinking_since = 0.0
        self._last_answer: Answer | None = None
        self._runs: dict[str, ToolRun] = {}
        self._todo: Todo | None = None

    def apply(self, event: ChatEvent) -> Change:
        """One event more."""
        change = Change()
        if (label := self._side.get(getattr(event, "source", "main"))) is not None:
            if label and isinstance(event, ToolStarted):
                self._new(change, Note(level="faint", text=f"{label} · {event.title or call_title(event.call)}"))
            return change
        match event:
            case TurnStarted():
                self._new(change, user_item(event.prompt))
                change.to_bottom = event.prompt.synthetic is None
            case Steered():
                self._new(change, user_item(event.message, how="to the running turn"))
            case SideStarted():
                self._side[event.id] = f"{event.kind} {event.label}" if event.kind == MEMBER else ""
            case TextDeltaEvent():
                self._text(change, event.text)
            case ReasoningDeltaEvent():
                self._reasoning(change, event.text)
            case ModelFinished():
                self._model_finished(change, event)
            case ModelRetrying():
                wait = f"; trying again in {span(event.delay_s, exact=True)}" if event.delay_s else "; trying again"
                self._new(change, Note(level="faint", text=event.reason + wait))
            case ToolStarted() | ToolProgress() | ToolFinished():
                self._tool(change, event)
            case Record() if event.line:
                self._new(change, Recorded(record=event))
            case DraftSuperseded():
                self._superseded(change, event)
            case Compacted() if event.reason != "command":
                title = words.compacted(event)
                self._new(change, ToolRun(id="", title=title, outcome="ok", text=event.message.text))
            case TodoChanged():
                before = self._todo.items if self._todo else ()
                self._todo = Todo(items=event.items, before=before)
                self._new(change, self._todo)
            case Notice():
                self._new(change, Note(level=event.level, text=event.text))
            case Refused():
                self._new(change, Note(level="warning", text=event.message, remedy=event.remedy))
                change.to_bottom = True
            case Shown():
                self._new(change, Showing(command=event.command, view=event.view))
                change.to_bottom = True
            case TurnFinished():
                self._turn_finished(change, event)
            case _:
                pass
        return change

    def _new(self, change: Change, item: Item) -> None:
        self.items.append(item)
        change.new.append(item)

    # What the model says

    def _text(self, change: Change, text: str) -> None:
        self._end_thought(change)
        if self._answer is None:
            self._answer = self._last_answer = Answer(live=Streaming())
            self._new(change, self._answer)
        else:
            change.changed.append(self._answer)
        self._answer.text += text
        # What is far beyond the screen is not drawn while it is written.
        if self._answer.live is not None and len(self._answer.text) <= MAX_ANSWER:
            self._answer.live.append(text)

    def _reasoning(self, change: Change, text: str) -> None:
        if self._thought is None:
            self._thought = Thought(live=True)
            self._thinking_since = self._now()
            self._new(change, self._thought)
        self._thought.text += text

    def _end_thought(self, change: Change) -> None:
        if self._thought is None:
            return
        self._thought.live = False
        self._thought.seconds = self._now() - self._thinking_since
        change.changed.append(self._thought)
        self._thought = None

    def _end_answer(self, change: Change, mark: str = "") -> None:
        if self._answer is None:
            return
        self._answer.live, self._answer.mark = None, mark
        change.changed.append(self._answer)
        self._answer = None

    def _model_finished(self, change: Change, event: ModelFinished) -> None:
        self._end_thought(change)
        if self._answer is None and event.message.text.strip():
            self._answer = self._last_answer = Answer()
            self._new(change, self._answer)
        if self._answer is not None:
            self._answer.text = event.message.text or self._answer.text
        cut_off = event.message.incomplete or event.finish == "length"
        self._end_answer(change, "cut off" if cut_off else "")

    def _superseded(self, change: Change, event: DraftSuperseded) -> None:
        if self._last_answer is None or not event.message.text.strip():
            return
        self._last_answer.draft = event.reason or "the turn continues"
        change.changed.append(self._last_answer)

    # Tools

    def _tool(self, change: Change, event: ToolStarted | ToolProgress | ToolFinished) -> None:
        match event:
            case ToolStarted():
                # What the user ran is there to be read; what the model ran is folded.
                own = event.source == "user"
                run = ToolRun(id=event.call.id, title=event.title or call_title(event.call), open=own)
                self._runs[run.id] = run
                self._new(change, run)
                change.to_bottom = own
            case ToolProgress():
                if event.id in self._runs:
                    run = self._runs[event.id]
                    run.progress = (run.progress + event.text)[-MAX_PROGRESS:]
                    change.changed.append(run)
            case ToolFinished():
                found = self._runs.pop(event.call.id, None)
                run = found or ToolRun(id=event.call.id, title=call_title(event.call))
                run.outcome, run.text, run.diff = event.outcome, event.text, event.diff
                run.seconds = event.duration_s
                if found is None:
                    self._new(change, run)
                else:
                    change.changed.append(run)

    # The end

    def _turn_finished(self, change: Change, event: TurnFinished) -> None:
        stopped = event.status == "interrupted"
        self._end_thought(change)
        self._end_answer(change, "stopped" if stopped else "not complete")
        for run in self._runs.values():
            run.outcome = "cancelled"
            change.changed.append(run)
        self._runs.clear()
        self._side.clear()
        for item in end_items(event):
            self._new(change, item)
