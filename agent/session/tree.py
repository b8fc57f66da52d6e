"""What a session's lines come to: the tree of messages and what hangs off it. Reading alone; `agent.session.session` writes.

Each line is `{v, id, parent, ts, entry}`. Message entries form the tree; the *head* is the message that the next one follows. Going
back (an undo, a fork) writes a `head` entry and never removes a line. Records of what plugins did, and their guidance, hang off the
message they belong to and are no part of the path: `history` never contains them. What requests are made of is `sent` (`agent.session.sent`).

A message is cleaned (keys, lone surrogates) when it joins, so that memory, disk and wire hold the same bytes.

A *compaction* is a node of the tree like a message: on a path that has one, `history` (what a model is sent) begins with the system
prompt, the user's own words and a summary, while `transcript` (what people read, search and export) is the whole path. Going back
behind it undoes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast, get_args

from agent.events import Record, RecordLevel
from agent.serialize import read_message
from agent.session import kept as sessionkept
from agent.session.file import Line
from agent.session.path import Compaction, behind_kept, in_order, steps
from agent.session.seen import PlacedSeen, Seen
from agent.session.seen import read as read_seen
from agent.session.sent import Given, Guidance, Step, with_guidance
from agent.session.sides import Sides

if TYPE_CHECKING:
    from agent.llm.messages import Message

T = TypeVar("T")
NAME = "name"
"""The state in which a session keeps the name that the user gave it."""


class KeptRecord(NamedTuple):
    """What a plugin kept, and the message that it belongs to."""

    record: Record
    head: str | None


class PlacedRecord(NamedTuple):
    """A record of the present transcript. `after` counts the messages before it."""

    record: Record
    after: int


class PlacedTurn(NamedTuple):
    """A turn of the present transcript. `id` is empty for sessions that were written before turns were marked; `entry` is that of the
    message that it began with, `before` the one that this follows."""

    id: str
    entry: str
    before: str | None
    prompt: Message


class SessionTree:
    """The entries of one conversation, and every view of them."""

    def __init__(self) -> None:
        self.origin: str | None = None
        """The session that this one is a copy of."""
        self._parents: dict[str, str | None] = {}
        self._messages: dict[str, Message] = {}
        self._records: list[KeptRecord] = []
        self._seen: list[tuple[Seen, str | None]] = []
        self._sides = Sides()
        self._given = Given()
        self._told: dict[str, dict[str, Any]] = {}
        self._kept: dict[str, dict[str, Any]] = {}
        self._turns: dict[str, str] = {}
        self._tokens: dict[str, int] = {}
        self._compactions: dict[str, Compaction] = {}
        self._state: dict[str, dict[str, Any]] = {}
        self._head: str | None = None
        self._count = 0
        self._viewed: tuple[str | None, int] | None = None
        self._views: dict[str, object] = {}

    @property
    def head(self) -> str | None:
        """The entry that the next message follows."""
        return self._head

    def parent_of_head(self) -> str | None:
        """The message before the head."""
        return self._parents[self._head] if self._head else None

    def parent(self, entry: str) -> str | None:
        """The message before another one."""
        return self._parents[entry]

    def history(self) -> tuple[Message, ...]:
        """The conversation: the messages from the start to the head, or what the last compaction has made of them."""
        return self._view("history", lambda: tuple(message for _, message in self.steps()))

    def sent(self) -> tuple[Message, ...]:
        """What the main model is sent: `history` with guidance in its places. Only what builds or measures requests uses it."""
        return self._view("sent", lambda: tuple(message for _, message in self.sent_steps()))

    def sent_steps(self) -> tuple[Step, ...]:
        """`sent`, each message with its entry."""
        return self._view("sent_steps", self._sent_steps)

    def guidance(self) -> list[Guidance]:
        """The guidance in force, oldest first: what hangs off the present path since its last compaction."""
        return self._given.in_force(self._chain(), self._compactions.__contains__)

    def steps(self) -> tuple[tuple[str | None, Message], ...]:
        """`history`, each message with its entry; the words that a compaction repeats have none."""
        return self._view("steps", lambda: steps(self._path(), self._messages, self._compactions))

    def transcript(self) -> tuple[Message, ...]:
        """Everything that was said from the start to the head, compacted or not; a compaction stands in it as its summary."""
        return tuple(self._messages[entry] for entry in self._path())

    def measured(self) -> tuple[int, tuple[Message, ...]] | None:
        """The tokens of the last counted request and its answer, and what is sent since; None where `sent` has none of it."""
        since: list[Message] = []
        for entry, message in reversed(self.sent_steps()):
            if entry in self._compactions:
                return None
            if entry in self._tokens and entry in self._path():
                return self._tokens[entry], tuple(reversed(since))
            since.append(message)
        return None

    def records(self, kind: str) -> list[dict[str, Any]]:
        """What plugins kept, oldest first."""
        return [kept.record.data for kept in self._records if kept.record.kind == kind]

    def records_kept(self, kind: str) -> list[KeptRecord]:
        """Those of a kind with where they hang, oldest first."""
        return [kept for kept in self._records if kept.record.kind == kind]

    def history_at(self, head: str | None) -> tuple[Message, ...]:
        """The conversation as it was when that entry was its head, on whatever branch."""
        path = in_order(list(self._walked(head)), self._messages)
        return tuple(message for _, message in steps(tuple(path), self._messages, self._compactions))

    def records_of(self, *kinds: str) -> list[tuple[str, dict[str, Any]]]:
        """The records of several kinds, each with its kind, oldest first."""
        return [(kept.record.kind, kept.record.data) for kept in self._records if kept.record.kind in kinds]

    def placed_records(self, *, private: bool = True) -> tuple[dict[str, Any], ...]:
        """The records of the present transcript as plain values: `{kind, data, after}`, in which `after` counts the messages before it.

        Without `private` the guidance that a record led to is None in it: what leaves the program has none.
        """
        return tuple(
            {
                "kind": record.kind,
                "data": record.data if private else _without(record.data, self._given.texts),
                "after": after,
            }
            for record, after in self.records_in_place()
        )

    def records_in_place(self) -> tuple[PlacedRecord, ...]:
        """The records that belong to the present transcript, oldest first."""
        places = {entry: number for number, entry in enumerate(self._path(), 1)}
        return tuple(PlacedRecord(kept.record, places[kept.head]) for kept in self._records if kept.head in places)

    def with_records(self) -> Iterator[Message | Record]:
        """The present transcript with its records between the messages, each where it belongs: those that say something to people."""
        records = [placed for placed in self.records_in_place() if placed.record.line]
        for number, message in enumerate(self.transcript(), 1):
            yield message
            yield from (placed.record for placed in records if placed.after == number)

    def seen_in_place(self) -> tuple[PlacedSeen, ...]:
        """What faces showed in the present transcript beside its messages and records, oldest first."""
        places = {entry: number for number, entry in enumerate(self._path(), 1)}
        return tuple(PlacedSeen(seen, places[head]) for seen, head in self._seen if head in places)

    def turns(self) -> list[PlacedTurn]:
        """The turns of the present transcript, oldest first."""
        path = self._path()
        begun = [entry for entry in path if entry in self._turns]
        if not begun:
            begun = [e for e in path if self._messages[e].role == "user" and not self._messages[e].synthetic]
        return [
            PlacedTurn(self._turns.get(entry, ""), entry, self._parents[entry], self._messages[entry])
            for entry in begun
        ]

    def since(self, entry: str) -> tuple[Message, ...]:
        """The messages of the present transcript from an entry on."""
        path = self._path()
        return tuple(self._messages[each] for each in path[path.index(entry) :])

    @property
    def name(self) -> str:
        """What the user calls it; empty where it has no name."""
        return str((self._state.get(NAME) or {}).get("name", ""))

    def get_state(self, name: str) -> dict[str, Any] | None:
        """What a plugin last stored under its name."""
        return self._state.get(name)

    def kept(self, name: str) -> dict[str, Any] | None:
        """What the program keeps with this conversation alone (`keep`)."""
        return self._kept.get(name)

    def told(self) -> dict[str, Any]:
        """What the model was last told of the circumstances, on the present path (`add` with `told`)."""
        return next((self._told[entry] for entry in reversed(self._path()) if entry in self._told), {})

    def began(self, turn: str) -> bool:
        """Whether a turn's own message is part of the present conversation."""
        return any(self._turns.get(entry) == turn for entry in self._path())

    def turn_count(self) -> int:
        """How many turns the present conversation has."""
        return sum(entry in self._turns for entry in self._path())

    def _view(self, name: str, make: Callable[[], T]) -> T:
        """What is asked for several times a call, made once: each entry that changes it is counted, or moves the head."""
        now = self._head, self._count
        if self._viewed != now:
            self._viewed, self._views = now, {}
        if name not in self._views:
            self._views[name] = make()
        return cast("T", self._views[name])

    def _sent_steps(self) -> tuple[Step, ...]:
        guidance, found = self.guidance(), self.steps()
        if not guidance:
            return found
        return tuple(with_guidance(found, guidance, behind_kept(self._chain(), found, self._compactions)))

    def _chain(self) -> tuple[str, ...]:
        """The entries from the start to the head, as they were added."""
        return self._view("chain", lambda: self._walked(self._head))

    def _walked(self, head: str | None) -> tuple[str, ...]:
        path: list[str] = []
        entry = head
        while entry is not None:
            path.append(entry)
            entry = self._parents[entry]
        return tuple(reversed(path))

    def _path(self) -> tuple[str, ...]:
        return self._view("path", lambda: tuple(in_order(list(self._chain()), self._messages)))

    # Taking lines in

    def _join(self, name: str, message: Message, parent: str | None, facts: Mapping[str, Any]) -> None:
        self._messages[name], self._parents[name], self._head = message, parent, name
        self._given.places[name] = self._given.line()
        if turn := facts.get("turn"):
            self._turns[name] = str(turn)
        if isinstance(tokens := facts.get("tokens"), int) and tokens > 0:
            self._tokens[name] = tokens
        if sessionkept.is_told(told := facts.get("told")):
            self._told[name] = told

    def _take(self, line: Line) -> None:
        name, parent, entry = line
        self._count = max(self._count, int(name[1:].partition(".")[0]))
        match entry["type"]:
            case "message" | "compaction":
                message = read_message(entry["message"])
                compaction = None
                if entry["type"] == "compaction":
                    compaction = tuple(read_message(each) for each in entry["words"]), entry.get("keep_from")
                if parent is not None and parent not in self._messages:
                    parent = self._head  # what it followed could not be understood: keep what there is
                if isinstance(binding := entry.get("binding"), str):
                    message = replace(message, binding=binding)
                if isinstance(command := entry.get("command"), str):
                    message = replace(message, command=command)
                self._join(name, message, parent, entry)
                if compaction is not None:
                    self._compactions[name] = compaction
            case "guidance":
                if parent in self._messages:
                    self._given.add(Guidance.read(name, str(parent), self._given.line(), entry))
            case "draft":
                if entry["of"] in self._messages:
                    self._messages[entry["of"]] = replace(self._messages[entry["of"]], draft=True)
            case "head":
                if entry["to"] is None or entry["to"] in self._messages:
                    self._head = entry["to"]
            case "record":
                self._records.append(KeptRecord(self._whole_record(entry), parent))
                self._sides.recorded(entry)
            case "seen":
                if (seen := read_seen(entry)) is not None:
                    self._seen.append((seen, parent))
            case "state":
                self._state[str(entry["name"])] = _table(entry["data"])
            case "side":
                _table(entry["data"])
                self._sides.add(entry)
            case "turn_finished":
                self._sides.ended(entry.get("turn"))
            case "kept":
                name = str(entry["name"])
                self._kept[name] = sessionkept.kept(name, entry["data"])
            case "origin":
                self.origin = str(entry["session"])
            case _:
                pass  # a plain fact, or something that another version wrote: it stays in the file

    def _whole_record(self, entry: dict[str, Any]) -> Record:
        """A record, with the guidance that stands in an entry of its own."""
        data = dict(_table(entry["data"]))
        if isinstance(reference := entry.get("guidance"), dict):
            given = self._given.find(str(reference.get("of")))
            data |= {str(key): given.text if given else None for key in reference.get("keys", ())}
        return Record(
            source=str(entry.get("source") or ""),
            kind=str(entry["kind"]),
            data=data,
            line=str(entry.get("line") or ""),
            level=next((level for level in get_args(RecordLevel) if level == entry.get("level")), "info"),
            group=str(entry.get("group") or ""),
        )


def _without(data: dict[str, Any], texts: Set[str]) -> dict[str, Any]:
    return {key: None if isinstance(value, str) and value in texts else value for key, value in data.items()}


def _table(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError("its data is not a table")
    return value
