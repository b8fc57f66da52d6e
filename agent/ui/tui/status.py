"""The status line: one line, at most four repaints a second, and none where nothing happens."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len
from textual.content import Content
from textual.widget import Widget

from agent.chat.events import Answered, Asked, Inquired, Opened, Queued, Settled
from agent.events import Compacted, Cost, ModelFinished, ModelStarted, SideFinished, TurnFinished, TurnStarted
from agent.text.numbers import count, span
from agent.ui import words
from agent.ui.tui.text.cells import SPINNER, fit, one_line
from agent.ui.tui.text.plot import bar

if TYPE_CHECKING:
    from textual import events
    from textual.timer import Timer

RATE = 4
"""Repaints a second, at most."""

SEPARATOR = " · "
GAUGE_CELLS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """What the line tells. `effort` is how deep the model thinks, `plugins` are their own words (`Plugin.status()`), `cost` is the session's, `used` and `window` are tokens."""

    model: str = ""
    effort: str = ""
    plugins: tuple[str, ...] = ()
    cost: Cost = Cost(usd=0.0)  # noqa: RUF009 - frozen
    used: int | None = None
    window: int | None = None
    queue: int = 0
    mode: str = ""
    cwd: str = ""
    turn: str = ""


class StatusLine(Widget):
    """Shows a `Status`. `show` changes parts of it; `apply` keeps cost, context, model and queue up to date from events.

    While a turn runs it has a sign of life and the turn's time, by `clock` (seconds): a model may think for minutes without a word.
    """

    DEFAULT_CSS = """
    StatusLine { height: 1; width: 1fr; padding: 0 1; color: $text-muted; text-wrap: nowrap; text-overflow: clip; }
    """

    def __init__(
        self, status: Status | None = None, *, clock: Callable[[], float] = time.monotonic, id: str | None = None
    ) -> None:
        super().__init__(id=id)
        self.status = status or Status()
        self._clock = clock
        self._since = 0.0
        self._beat: Timer | None = None
        self._questions: set[str] = set()
        self._asked = 0.0
        self._turn: list[Cost] = []
        self._painted = 0.0
        self._timer: Timer | None = None

    def show(self, **changes: Any) -> None:
        """Change parts of the status, by their names."""
        changed = replace(self.status, **changes)
        if changed == self.status:
            return
        self.status = changed
        if self.is_mounted and self._timer is None:
            wait = self._painted + 1 / RATE - time.monotonic()
            if wait > 0:
                self._timer = self.set_timer(wait, self.paint)
            else:
                self.paint()

    def apply(self, event: object) -> None:
        """What an event says about the parts of this line."""
        match event:
            case TurnStarted() if event.source == "main":
                self._begin()
            case Opened():
                self._rest()
                self._turn.clear()
                self.show(used=None, queue=0, cost=Cost(usd=0.0))
            case Queued():
                self.show(queue=len(event.texts))
            case Asked() | Inquired():
                self._asked = self._asked if self._questions else self._clock()
                self._questions.add(event.id)
            case Answered() | Settled() if event.id in self._questions:
                self._questions.remove(event.id)
                if not self._questions:  # the user's time is not the turn's
                    self._since += self._clock() - self._asked
            case ModelStarted() if event.source == "main":
                self.show(model=event.model)
            case ModelFinished() if event.source == "main":
                self._spend(event.cost)
                if event.usage is not None:
                    self.show(used=event.usage.prompt + event.usage.completion)
            case Compacted():
                self.show(used=event.after_tokens)
            case SideFinished():
                self._spend(event.cost)
            case TurnFinished() if event.source == "main":
                self._rest()
                self._settle(event.cost)
            case _:
                pass

    def _begin(self) -> None:
        self._rest()
        self._questions.clear()
        self._turn.clear()  # what came between turns is no part of this one
        self._since = self._clock()
        still = self.app.animation_level == "none"
        self._beat = self.set_interval(1 if still else 1 / RATE, self._tick)
        self._tick()

    def _tick(self) -> None:
        seconds = (self._asked if self._questions else self._clock()) - self._since
        glyph = "•" if self.app.animation_level == "none" else SPINNER[int(seconds * RATE) % len(SPINNER)]
        self.show(turn=f"{glyph} {span(seconds)}")

    def _rest(self) -> None:
        if self._beat is not None:
            self._beat.stop()
            self._beat = None
        self.show(turn="")

    def _spend(self, cost: Cost) -> None:
        self._turn.append(cost)
        self.show(cost=_plus(self.status.cost, cost))

    def _settle(self, cost: Cost) -> None:
        """The turn's own sum is the ledger's: it holds calls, too, of which no event told."""
        told = sum(one.usd or 0.0 for one in self._turn)
        before = self.status.cost
        self._turn.clear()
        if cost.usd is None:
            self.show(cost=replace(before, lower_bound=before.lower_bound or cost.lower_bound))
            return
        total = max(0.0, (before.usd or 0.0) - told) + cost.usd
        self.show(cost=Cost(usd=total, lower_bound=before.lower_bound or cost.lower_bound))

    def paint(self) -> None:
        """Show it as it is now, without waiting for the next repaint."""
        if self._timer is not None:
            self._timer.stop()
            self._timer = None
        self._painted = time.monotonic()
        self.refresh(layout=False)

    def render(self) -> Content:
        """The parts that fit."""
        return status_content(self.status, self.content_size.width or self.app.size.width - 2)

    def on_resize(self, _event: events.Resize) -> None:
        """Other parts fit now."""
        self.refresh(layout=False)


def status_content(status: Status, width: int) -> Content:
    """The line for a width: parts in their order, the least important ones left out where there is no room, the model's name cut last."""
    model = one_line(status.model).partition(":")
    full, short = one_line(status.model), (model[2] or model[0]).rpartition("/")[2]
    parts: list[tuple[int, str, str]] = []  # importance (0 is kept longest), text, style

    def add(importance: int, text: str, style: str = "") -> None:
        if text:
            parts.append((importance, text, style))

    add(0, status.turn, "$text-accent")
    add(1, full, "bold")
    add(4, f"effort {status.effort}" if status.effort else "")
    add(5, " ".join(map(one_line, status.plugins)), "$text-accent")
    add(4, words.money(status.cost))
    add(3, *_context(status))
    add(0, f"{status.queue} queued" if status.queue else "", "$text-warning")
    add(2, one_line(status.mode), "$text-warning" if status.mode == "all" else "")
    add(6, _home(status.cwd))
    shorter = {1: short, 3: _context(status)[0].rpartition("▏")[2]}
    for rank, text in shorter.items():
        if text and _length(parts) > width:
            parts = [(rank, text, style) if at == rank else (at, said, style) for at, said, style in parts]
    while len(parts) > 1 and _length(parts) > width:
        worst = max(parts)
        room = cell_len(worst[1]) - (_length(parts) - width)
        if worst[0] == 1 and room >= 4:
            parts[parts.index(worst)] = (1, fit(worst[1], room), worst[2])
        else:
            parts.remove(worst)
    pieces: list[tuple[str, str]] = []
    for _rank, text, style in parts:
        if pieces:
            pieces.append((SEPARATOR, "dim"))
        pieces.append((text if len(parts) > 1 else fit(text, min(width, cell_len(text))), style))
    return Content.assemble(*pieces).truncate(width)


def _length(parts: list[tuple[int, str, str]]) -> int:
    return sum(cell_len(text) for _rank, text, _style in parts) + len(SEPARATOR) * (len(parts) - 1)


def _context(status: Status) -> tuple[str, str]:
    """How full the context is: a gauge where the window is known, else the bare number."""
    if status.used is None:
        return "", ""
    if not status.window:
        return f"{count(status.used)} tokens", ""
    share = status.used / status.window
    style = "$text-error" if share >= 0.9 else "$text-warning" if share >= 0.7 else ""
    gauge = fit(bar(share, 1.0, GAUGE_CELLS), GAUGE_CELLS)
    return f"{count(status.used)}/{count(status.window)} ▕{gauge}▏{share:.0%}", style


def _home(path: str) -> str:
    """A folder as people write it."""
    home = str(Path.home())
    return one_line("~" + path[len(home) :] if path == home or path.startswith(home + "/") else path)


def _plus(one: Cost, other: Cost) -> Cost:
    if other.usd is None:
        return Cost(usd=one.usd, lower_bound=True)
    return Cost(usd=(one.usd or 0.0) + other.usd, lower_bound=one.lower_bound or other.lower_bound)
