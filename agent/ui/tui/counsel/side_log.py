"""What went on beside the main model, gathered from events and from a session's records. Plain values; no widget, no plugin.

A group (one counsel, one judgement, one delegation) is known by the `group` of its events and of its record.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from agent.events import ModelStarted, Record, SideFinished, SideProgress, SideStarted, TurnFinished
from agent.session.tree import PlacedRecord

MOST_GROUPS = 200
"""Older groups are forgotten here; the session's file keeps them."""


@dataclass(slots=True)
class Side:
    """One piece of side work: how it began, where it stands, how it ended."""

    started: SideStarted
    since: float
    progress: SideProgress | None = None
    heard: float = 0.0
    finished: SideFinished | None = None
    ended: float = 0.0
    slow: bool = False
    overtaken: bool = False
    """The main model went on without it: what it still says comes late."""

    def elapsed(self, now: float) -> float:
        """Seconds since it began, on the clock of who does it where that is known."""
        if self.finished is not None:
            return self.finished.duration_s
        if self.progress is None:
            return max(0.0, now - self.since)
        return self.progress.elapsed_s + max(0.0, now - self.heard)


@dataclass(slots=True)
class Group:
    """Side work that belongs together, and the record that was made of it."""

    id: str
    source: str
    sides: dict[str, Side] = field(default_factory=dict)
    record: Record | None = None
    closed: bool = False
    """What it was for has gone on; only what is still running of it is news."""

    @property
    def running(self) -> list[Side]:
        """The work that has not ended."""
        return [side for side in self.sides.values() if side.finished is None]


class SideLog:
    """Every group of the session, oldest first, and the roster of those that are at work."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.groups: dict[str, Group] = {}
        self._sides: dict[str, Side] = {}
        self._unnamed = 0

    def load(self, records: Iterable[PlacedRecord]) -> None:
        """Begin anew with a session's records."""
        self.groups.clear()
        self._sides.clear()
        for record, _after in records:
            self._take_record(record)

    def apply(self, event: object) -> bool:
        """Take an event in; True where it said something about side work."""
        match event:
            case SideStarted():
                self._begin(event)
            case SideProgress() if side := self._sides.get(event.id):
                side.progress, side.heard = event, self.clock()
                side.slow = side.slow or event.state == "soft_deadline"
            case SideFinished() if side := self._sides.pop(event.id, None):
                side.finished, side.ended = event, self.clock()
                group = self.groups.get(side.started.group)
                if side.started.kind == "compaction" and group is not None:
                    group.closed = True  # outside of a turn nothing else would end it
            case Record():
                self._take_record(event)
            case ModelStarted() if event.source == "main":
                self._go_on()
            case TurnFinished() if event.source == "main":
                self._end()
            case _:
                return False
        return True

    def inspectable(self) -> list[Group]:
        """The groups that have something to look into."""
        return [group for group in self.groups.values() if group.sides or group.record]

    def id_of(self, record: Record) -> str | None:
        """The group of a record; None where it is no longer kept."""
        found = next((group.id for group in self.groups.values() if group.record is record), None)
        return found or (record.group if record.group in self.groups else None)

    def _begin(self, event: SideStarted) -> None:
        group = self._group(event.group, event.source)
        for id, earlier in list(group.sides.items()):
            same = (earlier.started.kind, earlier.started.label) == (event.kind, event.label)
            if earlier.finished is not None and same:
                del group.sides[id]  # a further layer: the same seat speaks again
        side = Side(event, self.clock())
        group.sides[event.id] = self._sides[event.id] = side

    def _take_record(self, record: Record) -> None:
        if not record.line and record.group not in self.groups:
            return  # told to nobody, and of nothing that was seen
        if not record.group:
            self._unnamed += 1
        group = self._group(record.group or f"{record.source} {self._unnamed}", record.source)
        group.record, group.closed = record, True
        for side in group.running:
            side.overtaken = True

    def _go_on(self) -> None:
        for group in self.groups.values():
            group.closed = group.closed or not group.running  # counsel that looks ahead works on beside the call

    def _end(self) -> None:
        """The turn is over: what had not ended was stopped with it."""
        now = self.clock()
        for id, side in self._sides.items():
            side.finished = SideFinished(id=id, outcome="cancelled", duration_s=side.elapsed(now))
            side.ended = now
        self._sides.clear()
        for group in self.groups.values():
            group.closed = True

    def _group(self, id: str, source: str) -> Group:
        if id not in self.groups:
            self.groups[id] = Group(id, source)
            while len(self.groups) > MOST_GROUPS:
                del self.groups[next(iter(self.groups))]
        return self.groups[id]
