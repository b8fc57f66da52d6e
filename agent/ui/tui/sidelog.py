"""What went on beside the main model, gathered from events and from a session's records. Plain values; no widget, no plugin.

A group (one counsel, one judgement, one delegation) is known by the id that its events carry in `group` and its record in `id`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from agent.events import ModelStarted, Record, SideFinished, SideProgress, SideStarted, TurnFinished

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
    """Side work that belongs together, and the record that was made of it. `sent`: (call of the main model, guidance as sent)."""

    id: str
    source: str
    kind: str = ""
    """What its record is called (`counsel`)."""
    sides: dict[str, Side] = field(default_factory=dict)
    record: Mapping[str, Any] | None = None
    repeats: list[Mapping[str, Any]] = field(default_factory=list)
    sent: list[tuple[int, str]] = field(default_factory=list)
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
        self._told: str | None = None

    def load(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Begin anew with a session's records: the plain data of each, or an envelope of `kind` and `data`."""
        self.groups.clear()
        self._sides.clear()
        self._told = None
        for record in records:
            data = record.get("data", record)
            if isinstance(data, Mapping):
                self._take_record(data, "", str(record.get("kind", "")))

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
                self._take_record(event.data, event.source, event.kind)
            case ModelStarted() if event.source == "main":
                self._go_on(event)
            case TurnFinished() if event.source == "main":
                self._end()
            case _:
                return False
        return True

    def inspectable(self) -> list[Group]:
        """The groups that have something to look into."""
        return [group for group in self.groups.values() if group.sides or group.record]

    def _begin(self, event: SideStarted) -> None:
        group = self._group(event.group, event.source)
        for id, earlier in list(group.sides.items()):
            same = (earlier.started.kind, earlier.started.label) == (event.kind, event.label)
            if earlier.finished is not None and same:
                del group.sides[id]  # a further layer: the same seat speaks again
        side = Side(event, self.clock())
        group.sides[event.id] = self._sides[event.id] = side

    def _take_record(self, data: Mapping[str, Any], source: str, kind: str) -> None:
        id = data.get("id")
        if not isinstance(id, str):
            return
        group = self._group(id, source)
        group.kind = kind or group.kind
        if group.record is not None and "members" not in data:
            group.repeats.append(data)
        else:
            group.record, group.closed = data, True
            for side in group.running:
                side.overtaken = True
        self._told = id

    def _go_on(self, event: ModelStarted) -> None:
        for group in self.groups.values():
            group.closed = group.closed or not group.running  # counsel that looks ahead works on beside the call
        if event.guidance and self._told is not None and self._told in self.groups:
            self.groups[self._told].sent.append((event.iteration, event.guidance))
        self._told = None

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
