"""The line at the bottom: which model, whether counsel is on, what it cost, and what is going on right now."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from agent.chat.events import Answered, Asked, ChatEvent, Inquired, Opened, Queued, Settled
from agent.events import (
    Compacted,
    Cost,
    ModelFinished,
    ModelStarted,
    ReasoningDeltaEvent,
    SideFinished,
    SideProgress,
    SideStarted,
    TextDeltaEvent,
    ToolFinished,
    ToolStarted,
    TurnFinished,
    TurnStarted,
)
from agent.text.numbers import count
from agent.ui import words


@dataclass(slots=True)
class Status:
    """What goes on, from the events. `moving` says whether any of it changes by itself (elapsed seconds)."""

    clock: Callable[[], float] = time.monotonic
    doing: str = ""
    queued: int = 0
    context: int = 0
    """Tokens of the last request to the main model and its answer: what the next one begins with."""
    sides: dict[str, SideProgress | None] = field(default_factory=dict)
    _since: float = 0.0
    _questions: set[str] = field(default_factory=set)
    _asked: float = 0.0

    @property
    def moving(self) -> bool:
        """A turn is running."""
        return bool(self.doing)

    def apply(self, event: ChatEvent) -> None:
        """Take in an event."""
        match event:
            case TurnStarted():
                self.doing, self._since = "waiting", self.clock()
                self._questions.clear()
            case ModelStarted():
                self.doing = "waiting"
            case ReasoningDeltaEvent():
                self.doing = "thinking"
            case TextDeltaEvent():
                self.doing = "writing"
            case ModelFinished():
                if event.usage is not None:
                    self.context = event.usage.prompt + event.usage.completion
            case Compacted():
                self.context = event.after_tokens
            case ToolStarted() if event.source not in self.sides:
                if not self.doing:
                    self._since = self.clock()
                self.doing = event.call.name
            case ToolFinished() if event.source not in self.sides:
                self.doing = "" if event.source == "user" else "waiting"
            case SideStarted():
                self.sides[event.id] = None
            case SideProgress():
                self.sides[event.id] = event
            case SideFinished():
                self.sides.pop(event.id, None)
            case Asked() | Inquired():
                self.doing = "asking you" if self.doing else ""  # a command's form is no turn
                self._asked = self._asked if self._questions else self.clock()
                self._questions.add(event.id)
            case Answered() | Settled() if event.id in self._questions:
                self.doing = "working" if self.doing else ""
                self._questions.remove(event.id)
                if not self._questions:  # the user's time is not the turn's
                    self._since += self.clock() - self._asked
            case Queued():
                self.queued = len(event.texts)
            case TurnFinished():
                self.doing = ""
                self.sides.clear()
            case Opened():
                self.doing, self.queued, self.context = "", 0, 0
                self.sides.clear()
            case _:
                pass

    def activity(self) -> str:
        """What goes on now, in a few words; empty while nothing does."""
        parts = []
        if self.doing:
            now = self._asked if self._questions else self.clock()
            parts.append(f"{self.doing} {now - self._since:.0f} s")
        if self.sides:
            tokens = sum(progress.tokens for progress in self.sides.values() if progress)
            parts.append(f"{len(self.sides)} working beside it ({count(tokens)} tokens)")
        if self.queued:
            parts.append(f"{self.queued} queued (Esc: take back)")
        elif self.doing:
            parts.append("Esc stops")
        return " · ".join(parts)


def context(used: int, window: int | None) -> str:
    """How full the model's window is: `12.3k of 200.0k (6%)`."""
    if not used:
        return ""
    return f"{count(used)} of {count(window)} ({100 * used // window}%)" if window else count(used)


def toolbar(status: Status, *, model: str, plugins: list[str], cost: Cost, window: int | None, approve: str) -> str:
    """The whole line."""
    parts = [model, *plugins, words.money(cost), context(status.context, window)]
    if approve != "ask":
        parts.append(f"approve {approve}")
    parts.append(status.activity())
    return " · ".join(part for part in parts if part)
