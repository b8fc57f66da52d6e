"""The rows in the ledger's database: one for each reply of a request to a panel's model, with guidance or without.

They hold what was inserted and how the reply is known again, and nothing that the client wrote. The rows of one conversation, all its
branches, live and go together: 30 days after their last use, when there are more than `guidance_mb` of them, or with the client's key.
"""

from __future__ import annotations

import json
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from agent.session.sent import Guidance
from agent.text import foreign_json
from moa.serve.guidance.anchors import Anchor, newest, unended

if TYPE_CHECKING:
    from agent.ledger.store import Store

KEPT_S = 30 * 86400.0
"""So long after their last use the rows of a conversation are kept."""
RETRY_S = 600.0
"""So long a request that is sent again pays no second panel."""
ROW_BYTES = 600
"""About what a row takes beside its texts."""
_AT_ONCE = 500
_AT_HAND = 4096

State = Literal["open", "cut", "done"]
"""Of a reply: under way (or the program was killed), broken off, or given to its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One reply. `path` is the node that it follows; `place` and `lead` are hashes of the conversation before it, and of its newest words.

    `guidance` was inserted directly before it, in the result of the call `host` where that is its form. `counsel` says what was taken
    (None: nothing); `taken` is the same for all requests that share one panel. `ahead`: a counsel that was taken meanwhile, for a later
    request. `bare`: its request had to go without thoughts. Unix seconds.
    """

    id: str
    conversation: str
    path: str
    place: str
    lead: str
    guidance: Guidance | None = None
    host: str = ""
    taken: str = ""
    counsel: Mapping[str, Any] | None = None
    ahead: Mapping[str, Any] | None = None
    turn: int = 0
    step: int = 0
    bare: bool = False
    tools: bool = False
    client: str = ""
    state: State = "open"
    made: float = 0.0

    @property
    def size(self) -> int:
        """About how many bytes it takes."""
        return ROW_BYTES + len(_json(self.guidance and self.guidance.plain())) + len(_json(self.counsel))


_COLUMNS = "id, conversation, path, place, lead, guidance, host, taken, counsel, ahead, turn, step, bare, tools, client, state, made"


def new_id() -> str:
    """For a row, or a conversation."""
    return "g" + os.urandom(9).hex()


@dataclass(slots=True)
class Rows:
    """The rows of one client's key at one upstream. Every method is short and synchronous, and raises StateError as the ledger does."""

    database: Store
    key: str
    upstream: str
    clock: Callable[[], float] = field(default=time.time)

    def find(self, anchors: Iterable[Anchor]) -> dict[Anchor, list[Row]]:
        """The rows of each anchor, newest first."""
        names = {anchor.under(self.key, self.upstream): anchor for anchor in anchors}
        found: dict[Anchor, list[Row]] = {}
        known: dict[str, Row] = {}
        hashes = list(names)
        for start in range(0, len(hashes), _AT_ONCE):
            some = hashes[start : start + _AT_ONCE]
            marks = ", ".join("?" * len(some))
            query = (
                f"SELECT anchor, {_COLUMNS} FROM served_anchors JOIN served_replies ON served_replies.id = reply"
                f" WHERE anchor IN ({marks}) ORDER BY made DESC, served_replies.rowid DESC"
            )
            for anchor, *columns in self.database.rows(query, some):
                row = known.get(columns[0]) or _row(columns)
                known[row.id] = row
                found.setdefault(names[anchor], []).append(row)
        return found

    def begin(self, row: Row, kept: Sequence[tuple[Row, Sequence[Anchor]]] = ()) -> None:
        """A reply is about to be asked for: from here on its request can be made again. `kept`: what the client has kept of replies on its
        path that were cut off; from now on they are known by it."""
        now = self.clock()
        with self.database.transaction(alone=False):
            self.database.write(
                "INSERT INTO served_conversations VALUES (?, ?, ?, ?, 0) ON CONFLICT (id) DO UPDATE SET"
                " used = CASE WHEN excluded.used > served_conversations.used THEN excluded.used ELSE served_conversations.used END",
                (row.conversation, self.key, self.upstream, now),
            )
            new = self.database.write(
                f"INSERT INTO served_replies ({_COLUMNS}) VALUES ({', '.join('?' * 17)}) ON CONFLICT DO NOTHING",
                (
                    *(row.id, row.conversation, row.path, row.place, row.lead),
                    *(_json(row.guidance and row.guidance.plain()) or None, row.host, row.taken),
                    *(_json(row.counsel) or None, _json(row.ahead) or None),
                    *(row.turn, row.step, row.bare, row.tools, row.client, row.state, row.made or now),
                ),
            )
            if new:  # written twice (the answer to the first time was lost), it is counted once
                grown = "UPDATE served_conversations SET bytes = bytes + ? WHERE id = ?"
                self.database.write(grown, (row.size, row.conversation))
            self._name(row.id, [newest(row.place), unended(row.place)])
            for earlier, anchors in kept:
                self._name(earlier.id, anchors)

    def ended(self, row: Row, anchors: Sequence[Anchor], state: State, *, bare: bool) -> None:
        """What the reply is known by. One that was given to its end is no longer found by its place (but where it said nothing at all); and
        those of the same counsel are found as what they are, but their request is not made again."""
        with self.database.transaction(alone=False):
            self.database.write("UPDATE served_replies SET state = ?, bare = ? WHERE id = ?", (state, bare, row.id))
            self._name(row.id, anchors)
            if state == "done":
                again, never = (make(row.place).under(self.key, self.upstream) for make in (newest, unended))
                if anchors:
                    self.database.write("DELETE FROM served_anchors WHERE anchor = ? AND reply = ?", (never, row.id))
                self.database.write(
                    "DELETE FROM served_anchors WHERE anchor = ? AND reply IN"
                    " (SELECT id FROM served_replies WHERE id = ? OR (taken = ? AND taken <> ''))",
                    (again, row.id, row.taken),
                )

    def came_ahead(self, taken: str, counsel: Mapping[str, Any]) -> None:
        """A counsel that was taken while the replies of this one were made."""
        self.database.write("UPDATE served_replies SET ahead = ? WHERE taken = ?", (_json(counsel), taken))

    def any(self) -> bool:
        """Whether there are rows at all."""
        query = "SELECT 1 FROM served_conversations WHERE key = ? AND upstream = ? LIMIT 1"
        return bool(self.database.rows(query, (self.key, self.upstream)))

    def had_tools(self, client: str, within_s: float) -> bool:
        """Whether the last requests of this key, from the same program, had tools."""
        return bool(
            self.database.rows(
                "SELECT 1 FROM served_replies JOIN served_conversations ON served_conversations.id = conversation"
                " WHERE key = ? AND client = ? AND tools AND made > ? LIMIT 1",
                (self.key, client, self.clock() - within_s),
            )
        )

    def _name(self, row: str, anchors: Iterable[Anchor]) -> None:
        for anchor in anchors:
            self.database.write(
                "INSERT INTO served_anchors SELECT ?, id FROM served_replies WHERE id = ? ON CONFLICT DO NOTHING",
                (anchor.under(self.key, self.upstream), row),
            )


def receipts(database: Store, conversation: str) -> list[Mapping[str, Any]]:
    """What became of counsel at each reply of a conversation, oldest first: `counsel` of its rows. Raises StateError."""
    query = "SELECT counsel FROM served_replies WHERE conversation = ? AND counsel IS NOT NULL ORDER BY made, rowid"
    return [_facts(text) for (text,) in database.rows(query, (conversation,))]


def forget_key(database: Store, key: str) -> int:
    """A key is revoked: everything that was given under it is gone. Returns how many conversations there were."""
    return database.write("DELETE FROM served_conversations WHERE key = ?", (key,))


def sweep(database: Store, *, most_bytes: int, now: float) -> int:
    """Leave out what is too old, then, of what is too much, the oldest of the key that has the most: nobody's flood takes the room of others.
    Returns how many conversations went."""
    with database.transaction():
        gone = database.write("DELETE FROM served_conversations WHERE used < ?", (now - KEPT_S,))
        held = {
            key: int(size)
            for key, size in database.rows("SELECT key, sum(bytes) FROM served_conversations GROUP BY key")
        }
        if sum(held.values()) <= most_bytes:
            return gone
        oldest: dict[str, deque[tuple[str, int]]] = {key: deque() for key in held}
        for name, key, size in database.rows("SELECT id, key, bytes FROM served_conversations ORDER BY used"):
            oldest[key].append((name, size))
        while sum(held.values()) > most_bytes:
            key = max((each for each in held if oldest[each]), key=held.__getitem__)
            name, size = oldest[key].popleft()
            held[key] -= size
            gone += database.write("DELETE FROM served_conversations WHERE id = ?", (name,))
    return gone


def _row(columns: Sequence[Any]) -> Row:
    (name, conversation, path, place, lead, guidance, host, taken, counsel, ahead, turn, step, bare, tools, client) = (
        columns[:15]
    )
    return Row(
        id=name,
        conversation=conversation,
        path=path,
        place=place,
        lead=lead,
        guidance=None if guidance is None else _guidance(name, host, guidance),
        host=host,
        taken=taken,
        counsel=None if counsel is None else _facts(counsel),
        ahead=None if ahead is None else _facts(ahead),
        turn=turn,
        step=step,
        bare=bool(bare),
        tools=bool(tools),
        client=client,
        state=columns[15],
        made=columns[16],
    )


# A conversation's rows are read with each of its requests, and hardly ever change.


@lru_cache(maxsize=_AT_HAND)
def _guidance(name: str, host: str, text: str) -> Guidance:
    return Guidance.read(name, host, 0, foreign_json.loads(text))


@lru_cache(maxsize=_AT_HAND)
def _facts(text: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = foreign_json.loads(text)
    return found


def _json(value: Any) -> str:
    return "" if value is None else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
