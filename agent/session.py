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
import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.errors import StateError, UsageError
from agent.llm.messages import Message
from agent.llm.text import whole
from agent.wire import read_message, to_plain

if TYPE_CHECKING:
    from agent.compacted import Compaction
    from agent.events import Record

VERSION = 1

# Keys whose values are words of the format itself ("assistant"), whatever somebody's key may be.
_WORDS = frozenset({"type", "role"})


class Session:
    """One conversation. Nothing is written before the first entry, and every entry is on its way to disk when `append` returns."""

    def __init__(self, path: Path, *, redact: Callable[[str], str] = lambda text: text) -> None:
        self.path = path
        self.id = path.stem
        self.notices: list[str] = []
        self._redact = redact
        self._fd: int | None = None
        self._parents: dict[str, str | None] = {}
        self._messages: dict[str, Message] = {}
        self._records: list[tuple[str, dict[str, Any], str | None]] = []
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
    def open(cls, folder: Path, name: str, *, redact: Callable[[str], str] = lambda text: text) -> Session:
        """Read a session. `name` is an id or an unambiguous beginning of one.

        A torn last line (the program was killed while writing) is dropped and told in `notices`; everything before it is kept.
        Raises UsageError where there is none or several, StateError where the file can't be read.
        """
        session = cls(find(folder, name), redact=redact)
        session._read()
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
        path = self._path()
        if not self._compactions:
            return tuple((entry, self._messages[entry]) for entry in path)
        from agent.compacted import steps

        return steps(path, self._messages, self._compactions)

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
        return path

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
        """A plain fact about the session (a turn's start and end, its folder)."""
        self._append({"type": entry_type, **data})

    def rewind(self, to: str | None, *, reason: str) -> None:
        """Make an earlier message (None: the start) the head. The lines after it stay in the file."""
        self._append({"type": "head", "to": to, "reason": reason})
        self._head = to

    def copy(self) -> str:
        """Make a new session that begins as this one, and return its id. Blocking. Raises StateError."""
        twin = Session.create(self.path.parent)
        try:
            twin.path.write_bytes(self.path.read_bytes())
            twin.path.chmod(0o600)
        except OSError as error:
            raise StateError(
                f"can't copy the session to {twin.path}: {error.strerror or error}", remedy="free some space"
            ) from error
        return twin.id

    def sync(self) -> None:
        """Wait until what was written is on the disk. Blocking: call it in a thread."""
        if self._fd is not None:
            os.fsync(self._fd)

    def close(self) -> None:
        """Let go of the file."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _append(self, entry: dict[str, Any]) -> str:
        inherited, self._unwritten = self._unwritten, {}
        for state, value in inherited.items():
            self._append({"type": "state", "name": state, "data": value})
        self._count += 1
        name = f"e{self._count}"
        line = {"v": VERSION, "id": name, "parent": self._head, "ts": round(time.time(), 3), "entry": entry}
        data = json.dumps(self._clean(line), ensure_ascii=False).encode() + b"\n"
        try:
            if self._fd is None:
                self._fd = self._open_for_writing()
            start = os.fstat(self._fd).st_size
            written = os.write(self._fd, data)
            if written < len(data):  # a full disk takes a part: leave no torn line in the middle of the file
                os.ftruncate(self._fd, start)
                raise OSError(28, "No space left on device")
        except OSError as error:
            self._count -= 1
            raise StateError(
                f"can't write the session {self.path}: {error.strerror or error}",
                remedy="free some space or set MOA_STATE_DIR to a folder that can be written; nothing that was written before is lost",
            ) from error
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

    def _open_for_writing(self) -> int:
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_CLOEXEC", 0), 0o600)
        try:
            self._lock(fd)
            self._mend_end(fd)
        except BaseException:
            os.close(fd)
            raise
        return fd

    def _lock(self, fd: int) -> None:
        try:
            import fcntl
        except ImportError:  # Windows: no advisory locks
            return
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UsageError(
                f"session {self.id} is open in another process",
                remedy="wait for it to end, or start a new session",
                kind="session_busy",
            ) from None

    def _mend_end(self, fd: int) -> None:
        """A torn last line gets its own end, so that the next entry starts on a fresh line."""
        size = os.fstat(fd).st_size
        if size and os.pread(fd, 1, size - 1) != b"\n":
            os.write(fd, b"\n")

    def _read(self) -> None:
        try:
            raw = self.path.read_bytes()
        except OSError as error:
            raise StateError(
                f"can't read the session {self.path}: {error.strerror or error}", remedy="check the file's permissions"
            ) from error
        lines = raw.split(b"\n")
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                envelope = json.loads(line)
                self._take(envelope)
            except (ValueError, KeyError, TypeError) as error:
                what = "cut short" if number >= len(lines) - 1 else f"damaged ({error})"
                self.notices.append(f"session {self.id}: line {number} is {what} and was left out")

    def _take(self, envelope: dict[str, Any]) -> None:
        if envelope["v"] > VERSION:
            raise ValueError(f"written by a newer version of the program (format {envelope['v']})")
        name, entry = envelope["id"], envelope["entry"]
        self._count = max(self._count, int(name[1:]))
        match entry["type"]:
            case "message" | "compaction":
                message = read_message(entry["message"])
                parent = envelope["parent"]
                if parent is not None and parent not in self._messages:
                    parent = self._head  # the line it followed was damaged: keep what there is
                self._messages[name], self._parents[name], self._head = message, parent, name
                if entry.get("turn"):
                    self._turns[name] = entry["turn"]
                if entry.get("tokens"):
                    self._tokens[name] = int(entry["tokens"])
                if entry["type"] == "compaction":
                    words = tuple(read_message(each) for each in entry["words"])
                    self._compactions[name] = words, entry.get("keep_from")
            case "head":
                if entry["to"] is None or entry["to"] in self._messages:
                    self._head = entry["to"]
            case "record":
                self._records.append((entry["kind"], entry["data"], envelope["parent"]))
            case "state":
                self._state[entry["name"]] = entry["data"]


def find(folder: Path, name: str) -> Path:
    """The file of a session, by its id or an unambiguous beginning of it. Raises UsageError."""
    exact = folder / f"{name}.jsonl"
    if "/" not in name and exact.is_file():
        return exact
    matches = sorted(path for path in files(folder) if path.stem.startswith(name))
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise UsageError(
            f"{name!r} is the beginning of {len(matches)} sessions",
            remedy="give more of it: " + ", ".join(path.stem for path in matches[:5]),
            kind="unknown_session",
        )
    raise UsageError(
        f"there is no session {name!r} in {folder}", remedy="moa session list shows them", kind="unknown_session"
    )


def latest(folder: Path) -> str | None:
    """The id of the session that was written last."""
    paths = sorted(files(folder), key=lambda path: path.stat().st_mtime)
    return paths[-1].stem if paths else None


def files(folder: Path) -> Iterator[Path]:
    """All session files of a folder."""
    if folder.is_dir():
        yield from folder.glob("*.jsonl")
