"""The conversation on the screen: a reader of events that keeps only a window of widgets, however long the conversation is.

Deltas land in items; one timer redraws what has changed, at most ten times a second and never for more than a tenth of the time.
"""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter

from textual import on
from textual.containers import VerticalScroll
from textual.geometry import Offset
from textual.message import Message
from textual.timer import Timer
from textual.widget import Widget

from agent.chat.events import ChatEvent, Opened, Shown
from agent.events import Record, TurnFinished, TurnStarted
from agent.ui.tui.transcript.items import Item, of_session
from agent.ui.tui.transcript.reducer import Teller
from agent.ui.tui.transcript.widgets import Entry, ViewEntry, entry_for

FIRST_SHOWN = 40
"""Items that are mounted when a session is opened."""
MORE = 20
"""Items that are added when the user scrolls up to the first."""
MOST = 150
"""Mounted items; the oldest are let go above this, and come back on scrolling up."""
INTERVAL_S = 0.1
"""Between two redraws, at least."""
REST = 10
"""A redraw is followed by a pause of this many times what it took."""
LONGEST_S = 1.0
"""That pause, at most."""


class Transcript(VerticalScroll):
    """What was said and done. It stays at the bottom until the user scrolls up."""

    DEFAULT_CSS = """
    Transcript { height: 1fr; scrollbar-size-vertical: 1; scrollbar-gutter: stable; overflow-x: hidden; }
    """

    @dataclass
    class InspectRequested(Message):
        """The user wants to see a record in full."""

        record: Record

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._teller = Teller()
        self._first = 0
        self._entries: dict[Item, Entry | ViewEntry] = {}
        self._dirty: dict[Item, None] = {}
        self._flusher: Timer | None = None
        self._cost = 0.0
        self._growing = False
        self._turning = False

    @property
    def items(self) -> list[Item]:
        """Everything in the conversation, mounted or not, oldest first."""
        return self._teller.items

    def on_mount(self) -> None:
        """Hold on to the bottom."""
        self.anchor()

    def load(self, opened: Opened) -> None:
        """Show a session instead of what is shown now."""
        self._teller = Teller(of_session(opened))
        self._dirty.clear()
        self.query("Transcript > *").remove()
        self._entries.clear()
        self._first = max(0, len(self.items) - FIRST_SHOWN)
        self._mount(self._first)
        self.anchor()

    def apply(self, event: ChatEvent) -> None:
        """One event of the conversation. Deltas are drawn a little later, together."""
        if isinstance(event, Opened):
            self.load(event)
            return
        change = self._teller.apply(event)
        if change.new:
            self._mount(len(self.items) - len(change.new))
        for item in change.changed:
            self._dirty[item] = None
        if change.to_bottom:
            self.anchor()
        match event:
            case TurnStarted() | TurnFinished() if event.source == "main":
                self._turning = isinstance(event, TurnStarted)
            case Shown() if not self._turning:  # while a turn runs, what comes is the news
                self.call_after_refresh(self._from_its_top, self._entries[self.items[-1]])
            case _:
                pass
        if self._dirty:
            self._flush_soon()

    def _from_its_top(self, entry: Entry | ViewEntry) -> None:
        """What a command has said is read from its beginning, where it is longer than the screen."""
        newest = entry.is_attached and self.items[-1] is entry.item and self.at_bottom
        if newest and entry.outer_size.height > self.size.height:
            self.release_anchor()
            self.scroll_to_widget(entry, top=True, animate=False, immediate=True)

    # Drawing

    def _flush_soon(self) -> None:
        if self._flusher is None:
            pause = min(max(INTERVAL_S, REST * self._cost), LONGEST_S)
            self._flusher = self.set_timer(pause, self._flush)

    def _flush(self) -> None:
        self._flusher = None
        dirty, self._dirty = list(self._dirty), {}
        started = perf_counter()
        for item in dirty:
            entry = self._entries.get(item)
            if entry is not None:
                entry.redraw()
        self.call_after_refresh(self._measure, started)

    def _measure(self, started: float) -> None:
        self._cost = perf_counter() - started

    def flush(self) -> None:
        """Draw what has changed now."""
        if self._flusher is not None:
            self._flusher.stop()
        self._flush()

    # The window

    def _make(self, first: int, end: int) -> list[Entry | ViewEntry]:
        """Widgets for a run of items."""
        entries = []
        for number in range(first, end):
            item = self.items[number]
            entries.append(entry_for(item, self.items[number - 1] if number else None))
            self._entries[item] = entries[-1]
        return entries

    def _mount(self, first: int) -> None:
        entries = self._make(first, len(self.items))
        with self.app.batch_update():
            self.mount_all(entries)
            self._let_go()

    def _let_go(self) -> None:
        """Unmount the oldest, unless the user is up there."""
        spare = len(self._entries) - MOST
        if spare <= 0 or not self.at_bottom:
            return
        for item in self.items[self._first : self._first + spare]:
            self._entries.pop(item).remove()
        self._first += spare

    @property
    def scroll_offset(self) -> Offset:
        """Textual's anchor scrolls a short text to the bottom of the window; it belongs at the top."""
        offset = super().scroll_offset
        return Offset(offset.x, max(0, offset.y))

    @property
    def at_bottom(self) -> bool:
        """The newest is in view, and what comes keeps it so."""
        return not self._anchor_released or self.scroll_y >= self.max_scroll_y

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """At the top, load what was before."""
        super().watch_scroll_y(old_value, new_value)
        if new_value < old_value and new_value <= 2 and self._first and not self._growing:
            self._growing = True
            self.call_next(self._load_earlier)

    async def _load_earlier(self) -> None:
        if not self._first:  # another session was opened meanwhile
            self._growing = False
            return
        first = max(0, self._first - MORE)
        entries = self._make(first, self._first)
        self._first = first
        bottom = self.max_scroll_y - self.scroll_y
        with self.app.batch_update():
            await self.mount_all(entries, before=0)
        self.call_after_refresh(self._keep_place, bottom)

    def _keep_place(self, bottom: float) -> None:
        """What the user was looking at stays where it was."""
        self.scroll_to(y=self.max_scroll_y - bottom, animate=False, immediate=True)
        self._growing = False

    # Keys

    @on(Entry.Inspect)
    def _inspect(self, event: Entry.Inspect) -> None:
        event.stop()
        self.post_message(self.InspectRequested(event.record))

    def focus_last(self) -> bool:
        """Give the focus to the newest entry that takes it, or to the tabs in it. False where there is none."""
        takers = (
            next((each for each in entry.walk_children(Widget, with_self=True) if each.focusable), None)
            for entry in reversed(self.children)
        )
        entry = next((taker for taker in takers if taker is not None), None)
        if entry is not None:
            entry.focus()
        return entry is not None
