"""A request's path: which of its replies are ours, what was inserted before each, and which thoughts go back. Pure.

A *node* is a place in the tree of a conversation: a row's id, for a reply that has one and was made on this very path; a hash, for one
that has none here. A row holds only where it was made on the path that leads to it now (`Row.path`). So what a client took out of the
beginning (a compaction, an edit) is noticed at the first reply behind it, and so is a row that was lost.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from moa.serve.guidance.anchors import Anchor, Part, Pause, Reading, unended

if TYPE_CHECKING:
    from moa.serve.guidance.rows import Row

ROOT = ""
"""The node of a conversation without any reply."""
_MOST_STATES = 16

UNKNOWN = "this server does not know the reply"
MOVED = "what stood before them has changed"
REFUSED = "the endpoint has refused them"


@dataclass(frozen=True, slots=True)
class Step:
    """One reply on the path, or a request that never got one (without `items`, which are the indices of a reply's). What was inserted for
    it stands before the item `at`. `row` is None where it has none here. `left`: why its thoughts do not go back (None: they do)."""

    at: int
    items: tuple[int, ...]
    row: Row | None
    left: str | None = None


@dataclass(frozen=True, slots=True)
class Path:
    """All replies of a request, in order, and the node that the next reply follows."""

    steps: tuple[Step, ...]
    node: str

    @property
    def rows(self) -> tuple[Row, ...]:
        """The rows that hold, oldest first."""
        return tuple(step.row for step in self.steps if step.row is not None)


@dataclass(frozen=True, slots=True)
class _State:
    """One way of reading the replies so far: its last step, and the way before that."""

    node: str
    step: Step | None = None
    before: _State | None = None
    replied: int = 0
    given: int = 0

    def then(self, step: Step, node: str) -> _State:
        """With one more step, which leads to `node`."""
        known = step.row is not None
        return _State(node, step, self, self.replied + (known and bool(step.items)), self.given + known)

    @property
    def merit(self) -> tuple[int, int, float]:
        """More replies of ours are better, then more that was given; of equals the newest."""
        row = self.step.row if self.step is not None else None
        return self.replied, self.given, row.made if row is not None else 0.0

    def steps(self) -> tuple[Step, ...]:
        """All of them, in order."""
        found: list[Step] = []
        state: _State | None = self
        while state is not None:
            found += [state.step] if state.step is not None else []
            state = state.before
        return tuple(reversed(found))


def resolve(
    reading: Reading,
    found: Mapping[Anchor, Sequence[Row]],
    fits: Callable[[Row, int], bool],
    *,
    start: str = ROOT,
) -> Path:
    """Put replies and rows together. `found` has the rows of each anchor and of each place; `fits` says whether what a row inserted can
    stand before an item; `start` is the node that the request goes on from."""
    states = [_State(start)]
    for mark in reading.marks:
        following: dict[str, _State] = {}
        for state in states:
            read = _paused if isinstance(mark, Pause) else _further
            for further in read(state, mark, found, fits):  # type: ignore[arg-type]
                known = following.get(further.node)
                if known is None or known.merit < further.merit:
                    following[further.node] = further
        states = list(following.values())
        if len(states) > _MOST_STATES:
            states = sorted(states, key=lambda state: state.merit, reverse=True)[:_MOST_STATES]
    best = states[0] if len(states) == 1 else max(states, key=lambda state: state.merit)
    return Path(_with_thoughts(best.steps(), found, reading), best.node)


def _further(
    state: _State, part: Part, found: Mapping[Anchor, Sequence[Row]], fits: Callable[[Row, int], bool]
) -> list[_State]:
    """The ways in which one more item of a reply can be read."""
    last = state.step if state.step is not None and state.step.items else None
    candidates = _candidates(part, found)
    if last is not None and last.row is not None and any(row.id == last.row.id for row, _sure in candidates):
        return [_grown(state, part)]  # a reply whose items do not stand in a row
    held = [row for row, sure in candidates if sure and row.path == state.node and fits(row, part.at)]
    if not held and part.adjacent and last is not None:
        return [_grown(state, part)]
    if not held:  # it was cut off, or its end was never seen: then it has no name but its place
        held = [row for row in found.get(unended(part.before), ()) if row.path == state.node and fits(row, part.at)][:1]
    if held:
        return [state.then(Step(part.at, (part.at,), row), row.id) for row in held]
    return [state.then(Step(part.at, (part.at,), None), _node(state.node, part.name))]


def _paused(
    state: _State, pause: Pause, found: Mapping[Anchor, Sequence[Row]], fits: Callable[[Row, int], bool]
) -> list[_State]:
    """The same, and with what was inserted for a request that ended here: a call that failed leaves it."""
    rows = [row for row in found.get(unended(pause.before), ()) if row.path == state.node and row.guidance is not None]
    return [state, *(state.then(Step(pause.at, (), row), row.id) for row in rows if fits(row, pause.at))]


def _grown(state: _State, part: Part) -> _State:
    assert state.step is not None
    return replace(state, step=replace(state.step, items=(*state.step.items, part.at)))


def _candidates(part: Part, found: Mapping[Anchor, Sequence[Row]]) -> list[tuple[Row, bool]]:
    """The rows that an item may belong to, and whether that is sure: by an anchor that nobody else has, or behind the same words."""
    rows: dict[str, tuple[Row, bool]] = {}
    for anchor in part.anchors:
        here = found.get(anchor, ())
        for row in here:
            sure = row.lead == part.lead or (anchor.strong and len(here) == 1)
            known = rows.get(row.id)
            rows[row.id] = (row, sure or (known is not None and known[1]))
    same = [each for each in rows.values() if each[0].place == part.before]
    return same or list(rows.values())


def _node(before: str, name: str) -> str:
    """The node behind a reply that has no row here."""
    return "-" + hashlib.blake2b(f"{before}\0{name}".encode(), digest_size=12).hexdigest()


def _with_thoughts(steps: Sequence[Step], found: Mapping[Anchor, Sequence[Row]], reading: Reading) -> tuple[Step, ...]:
    """Which thoughts stay behind: those of replies without a row here, and all before a request that had to go without."""
    bare = max((at for at, step in enumerate(steps) if step.row is not None and step.row.bare), default=-1)
    known = {part.at: any(found.get(anchor) for anchor in part.anchors) for part in reading.parts}
    decided = []
    for at, step in enumerate(steps):
        left = REFUSED if at < bare else None
        if step.row is None and left is None:
            left = MOVED if any(known.get(item) for item in step.items) else UNKNOWN
        decided.append(replace(step, left=left))
    return tuple(decided)
