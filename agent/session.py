"""The conversation on disk: an append-only tree of entries in one JSONL file a session.

Each line is `{v, id, parent, ts, entry}`. Message entries form the tree; the *head* is the message that the next one follows. Going
back (a superseded draft, an undo, a fork) writes a `head` entry and never removes a line. Records of what plugins did hang off the
message they belong to and are no part of the path, so history sent to a model never contains them.

A *compaction* is a node of the tree like a message: on a path that has one, `history` (what a model is sent) begins with the system
prompt, the user's own words and a summary, while `transcript` (what people read, search and export) is the whole path. Going back
behind it undoes it.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.errors import StateError, UsageError
from agent.llm.messages import Message
from agent.llm.text import whole
from agent.sessionfile import VERSION, Line, SessionFile, read_lines, reason
from agent.sessionpath import Compaction, in_order, steps
from agent.wire import read_message, to_plain

if TYPE_CHECKING:
    from agent.events import Record, SideFinished

NAME = "name"
"""The state in which a session keeps the name that the user gave it."""

# Keys whose values are words of the format itself ("assistant"), whatever somebody's key may be.
_WORDS = frozenset({"type", "role"})


class Session:
    """One conversation. Nothing is written before the first entry, and every entry is on its way to disk when it was added."""

    def __init__(self, path: Path, *, redact: Callable[[str], str] = lambda text: text) -> None:
        self.path = path
        self.id = path.stem
        self.notices: list[str] = []
        self.origin: str | None = None
        """The session that this one is a copy of."""
        self._redact = redact
        self._file = SessionFile(path)
        self._parents: dict[str, str | None] = {}
        self._messages: dict[str, Message] = {}
        self._records: list[tuple[str, dict[str, Any], str | None]] = []
        self._sides: list[dict[str, Any]] = []
        self._sides_told = 0
        self._turns: dict[str, str] = {}
        self._tokens: dict[str, int] = {}
        self._compactions: dict[str, Compaction] = {}
        self._unwritten: dict[str, dict[str, Any]] = {}
        self._state: dict[str, dict[str, Any]] = {}
        self._head: str | None = None
        self._count = 0

    @classmethod
    def create(cls, folder: Path, *, redact: Callable[[str], str] = lambda text: text) -> Session:
        """A new session in a folder; the id sorts by time."""
        name = time.strftime("%Y%m%d-%H%M%S-") + secrets.token_hex(2)
        return cls(folder / f"{name}.jsonl", redact=redact)

    @classmethod
    def open(
        cls, folder: Path, name: str, *, redact: Callable[[str], str] = lambda text: text, claim: bool = False
    ) -> Session:
        """Read a session. `name` is an id, the name that the user gave it, or an unambiguous beginning of one.

        `claim`: to go on with it; without, it is only read, which is possible while another process writes it. A torn last line (the
        program was killed while writing) is dropped and told in `notices`; everything before it is kept. Raises UsageError where there
        is none, or several, or a newer version wrote it, or, with `claim`, another process has it; StateError where the file can't be read.
        """
        from agent.sessionlist import find

        session = cls(find(folder, name), redact=redact)
        if claim:  # before it is read: nobody adds a line in between
            session._file.claim()
        try:
            session._read()
        except BaseException:
            session.close()
            raise
        return session

    # Reading

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
        """What a model is sent: the messages from the start to the head, or what the last compaction has made of them."""
        return tuple(message for _, message in self.steps())

    def steps(self) -> tuple[tuple[str | None, Message], ...]:
        """`history`, each message with its entry; the words that a compaction repeats have none."""
        return steps(self._path(), self._messages, self._compactions)

    def transcript(self) -> tuple[Message, ...]:
        """Everything that was said from the start to the head, compacted or not; a compaction stands in it as its summary."""
        return tuple(self._messages[entry] for entry in self._path())

    def measured(self) -> tuple[int, tuple[Message, ...]] | None:
        """The tokens of the last counted request and its answer, and the messages since; None where `history` has none of it."""
        since: list[Message] = []
        for entry in reversed(self._path()):
            if entry in self._compactions:
                return None
            if entry in self._tokens:
                return self._tokens[entry], tuple(reversed(since))
            since.append(self._messages[entry])
        return None

    def records(self, kind: str) -> list[dict[str, Any]]:
        """What plugins kept, oldest first."""
        return [data for name, data, _ in self._records if name == kind]

    def placed_records(self) -> tuple[dict[str, Any], ...]:
        """The records that belong to the present transcript: `{kind, data, after}`, in which `after` counts the messages before it."""
        places = {entry: number for number, entry in enumerate(self._path(), 1)}
        return tuple(
            {"kind": kind, "data": data, "after": places[head]} for kind, data, head in self._records if head in places
        )

    def last_turn(self) -> tuple[str, str, str | None] | None:
        """The last turn of the present transcript: its id, the entry of the message that it began with, and the entry before that.

        None where there is none. The id is empty for sessions that were written before turns were marked.
        """
        path = self._path()
        marked = next((entry for entry in reversed(path) if entry in self._turns), None)
        if marked is None:
            typed = (e for e in reversed(path) if self._messages[e].role == "user" and not self._messages[e].synthetic)
            marked = next(typed, None)
        return None if marked is None else (self._turns.get(marked, ""), marked, self._parents[marked])

    def since(self, entry: str) -> tuple[Message, ...]:
        """The messages of the present transcript from an entry on."""
        path = self._path()
        return tuple(self._messages[each] for each in path[path.index(entry) :])

    @property
    def name(self) -> str:
        """What the user calls it; empty where it has no name."""
        return str((self._state.get(NAME) or {}).get("name", ""))

    def rename(self, name: str) -> None:
        """Give it a name. An empty session gets it with its first entry."""
        data = {"name": name}
        if self._head is None and not self._count:
            self.inherit({NAME: data})
        else:
            self.set_state(NAME, data)

    def get_state(self, name: str) -> dict[str, Any] | None:
        """What a plugin last stored under its name."""
        return self._state.get(name)

    def _path(self) -> list[str]:
        path: list[str] = []
        entry = self._head
        while entry is not None:
            path.append(entry)
            entry = self._parents[entry]
        path.reverse()
        return in_order(path, self._messages)

    # Writing

    def add(
        self, message: Message, *, call_id: str | None = None, turn: str | None = None, tokens: int | None = None
    ) -> str:
        """A message after the head, which it becomes. `turn`: it begins that turn. `tokens`: what its request and it came to, as the
        endpoint counted. Returns the entry's id."""
        entry: dict[str, Any] = {"type": "message", "message": to_plain(message)}
        if call_id:
            entry["call_id"] = call_id
        if turn:
            entry["turn"] = turn
        if tokens:
            entry["tokens"] = tokens
        name = self._append(entry)
        if turn:
            self._turns[name] = turn
        if tokens:
            self._tokens[name] = tokens
        self._parents[name] = self._head
        self._messages[name] = message
        self._head = name
        return name

    def compact(self, summary: Message, *, words: Sequence[Message], keep_from: str | None) -> str:
        """From here on `history` is: the system prompt, `words`, `summary`, and the messages from the entry `keep_from` on (None: none).

        One entry, so that a crash leaves all of it or nothing. Returns its id.
        """
        plain = [to_plain(message) for message in words]
        entry = {"type": "compaction", "message": to_plain(summary), "words": plain, "keep_from": keep_from}
        name = self._append(entry)
        self._parents[name], self._messages[name], self._head = self._head, summary, name
        self._compactions[name] = tuple(words), keep_from
        return name

    def add_record(self, record: Record, *, turn: str, iteration: int) -> None:
        """Something durable that belongs to one request, off the message path."""
        self._append(
            {
                "type": "record",
                "kind": record.kind,
                "turn": turn,
                "iteration": iteration,
                "source": record.source,
                "data": record.data,
            }
        )
        self._records.append((record.kind, record.data, self._head))
        self._recorded({"turn": turn, "iteration": iteration})

    def add_side(self, finished: SideFinished, *, turn: str, iteration: int) -> None:
        """What side work has come to, before anybody is shown it. A record of the same request takes its place (`unrecorded`)."""
        entry = {"type": "side", "turn": turn, "iteration": iteration, "data": to_plain(finished)}
        self._append(entry)
        self._sides.append(entry)

    def unrecorded(self) -> tuple[dict[str, Any], ...]:
        """What side work had come to when the program was killed before it was recorded (in mid-counsel), oldest first."""
        return tuple(entry["data"] for entry in self._sides)

    def newly_unrecorded(self) -> tuple[dict[str, Any], ...]:
        """Those of them that came after the last turn that ended: nobody was told of them yet."""
        return self.unrecorded()[self._sides_told :]

    def _ended(self, turn: Any) -> None:
        self._sides = [side for side in self._sides if side.get("turn") != turn]
        self._sides_told = len(self._sides)

    def _recorded(self, record: Mapping[str, Any]) -> None:
        of = (record.get("turn"), record.get("iteration"))
        self._sides = [side for side in self._sides if (side.get("turn"), side.get("iteration")) != of]

    def set_state(self, name: str, data: dict[str, Any]) -> None:
        """A plugin's own state, which comes back when the session is opened again."""
        if self._state.get(name) != data:
            self._append({"type": "state", "name": name, "data": data})
            self._state[name] = data

    def states(self) -> dict[str, dict[str, Any]]:
        """Everything that was stored with `set_state`, by name."""
        return dict(self._state)

    def inherit(self, states: Mapping[str, dict[str, Any]]) -> None:
        """Begin with another session's state. It is written with the first entry: an empty session has no file."""
        self._state.update(states)
        self._unwritten.update(states)

    def note(self, entry_type: str, **data: Any) -> None:
        """A plain fact about the session (a turn's end, its folder)."""
        self._append({"type": entry_type, **data})
        if entry_type == "turn_finished":
            self._ended(data.get("turn"))

    def rewind(self, to: str | None, *, reason: str) -> None:
        """Make an earlier message (None: the start) the head. The lines after it stay in the file."""
        self._append({"type": "head", "to": to, "reason": reason})
        self._head = to

    def copy(self) -> str:
        """Make a new session that begins as this one, and return its id. Blocking. Raises StateError."""
        twin = Session.create(self.path.parent, redact=self._redact)
        partial = twin.path.with_suffix(".part")
        try:
            partial.touch(mode=0o600)
            partial.write_bytes(self.path.read_bytes())
            partial.rename(twin.path)  # never half a copy under a session's name
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise StateError(
                f"can't copy the session to {twin.path}: {error.strerror or error}", remedy="free some space"
            ) from error
        twin._count, twin._head = self._count, self._head
        twin.note("origin", session=self.id)
        if self.name:
            twin.set_state(NAME, {"name": f"{self.name} (fork)"})
        twin.close()
        return twin.id

    def sync(self) -> None:
        """Wait until what was written is on the disk. Blocking: call it in a thread. Raises StateError."""
        self._file.sync()

    def close(self) -> None:
        """Bring what was written to the disk and let go of the file."""
        self._file.close()

    def _append(self, entry: dict[str, Any]) -> str:
        while self._unwritten:
            state, value = self._unwritten.popitem()
            try:
                self._append({"type": "state", "name": state, "data": value})
            except (StateError, UsageError):
                self._unwritten[state] = value
                raise
        self._count += 1
        name = f"e{self._count}"
        line = {"v": VERSION, "id": name, "parent": self._head, "ts": round(time.time(), 3), "entry": entry}
        try:
            self._file.append(json.dumps(self._clean(line), ensure_ascii=False).encode() + b"\n")
        except (StateError, UsageError):
            self._count -= 1
            raise
        return name

    def _clean(self, value: Any) -> Any:
        """The value as it may be written: secrets are taken out of its texts, never out of the JSON around them."""
        if isinstance(value, str):
            return self._redact(whole(value))
        if isinstance(value, dict):
            return {whole(key): item if key in _WORDS else self._clean(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self._clean(item) for item in value]
        return value

    def _read(self) -> None:
        lines, problems = read_lines(self.path)
        for line in lines:
            try:
                self._take(line)
            except (ValueError, KeyError, TypeError) as error:
                problems.append(f"the entry {line.name} can't be understood ({reason(error)}) and was left out")
        self.notices += [f"session {self.id}: {problem}" for problem in problems]

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
                self._messages[name], self._parents[name], self._head = message, parent, name
                if turn := entry.get("turn"):
                    self._turns[name] = str(turn)
                if isinstance(tokens := entry.get("tokens"), int) and tokens > 0:
                    self._tokens[name] = tokens
                if compaction is not None:
                    self._compactions[name] = compaction
            case "head":
                if entry["to"] is None or entry["to"] in self._messages:
                    self._head = entry["to"]
            case "record":
                self._records.append((str(entry["kind"]), _table(entry["data"]), parent))
                self._recorded(entry)
            case "state":
                self._state[str(entry["name"])] = _table(entry["data"])
            case "side":
                _table(entry["data"])
                self._sides.append(entry)
            case "turn_finished":
                self._ended(entry.get("turn"))
            case "origin":
                self.origin = str(entry["session"])
            case _:
                pass  # a plain fact, or something that another version wrote: it stays in the file


def _table(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError("its data is no table")
    return value
