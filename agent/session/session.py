"""The conversation on disk: an append-only tree of entries in one JSONL file a session.

Each line is `{v, id, parent, ts, entry}`. Message entries form the tree; the *head* is the message that the next one follows. Going
back (an undo, a fork) writes a `head` entry and never removes a line. Records of what plugins did, and their guidance, hang off the
message they belong to and are no part of the path: `history` never contains them. What requests are made of is `sent` (`agent.session.sent`).

A message is cleaned (keys, lone surrogates) when it joins, so that memory, disk and wire hold the same bytes.

A *compaction* is a node of the tree like a message: on a path that has one, `history` (what a model is sent) begins with the system
prompt, the user's own words and a summary, while `transcript` (what people read, search and export) is the whole path. Going back
behind it undoes it.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.errors import StateError, UsageError
from agent.files.own_files import read_bytes, write_atomically
from agent.llm.messages import Message
from agent.serialize import to_plain
from agent.session.clean import clean_message, clean_value
from agent.session.file import VERSION, SessionFile, read_lines, reason
from agent.session.seen import read as read_seen
from agent.session.sent import Guidance, form_of
from agent.session.tree import NAME, KeptRecord, SessionTree
from agent.text.encodable import whole

if TYPE_CHECKING:
    from agent.events import Record, SideFinished


class Session(SessionTree):
    """One conversation. Nothing is written before the first entry, and every entry is on its way to disk when it was added."""

    def __init__(self, path: Path, *, redact: Callable[[str], str] = lambda text: text) -> None:
        super().__init__()
        self.path = path
        self.id = path.stem
        self.notices: list[str] = []
        self.passing = False
        """Its file goes away with the program: nobody is told how to go on with it."""
        self._redact = redact
        self._file = SessionFile(path)
        self._went_out: str | None = None
        self._unwritten: dict[str, dict[str, Any]] = {}

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
        from agent.session.index import find

        session = cls(find(folder, name), redact=redact)
        if claim:  # before it is read: nobody adds a line in between
            session._file.claim()
        try:
            session._read()
        except BaseException:
            session.close()
            raise
        return session

    @property
    def resumable(self) -> bool:
        """Whether somebody can go on with it: something was said, and its file is there."""
        return self._head is not None and not self.passing and self.path.exists()

    # Writing

    def add(
        self,
        message: Message,
        *,
        call_id: str | None = None,
        turn: str | None = None,
        tokens: int | None = None,
        told: dict[str, Any] | None = None,
    ) -> str:
        """A message after the head, which it becomes; it is cleaned first. Returns the entry's id.

        `turn`: it begins that turn. `tokens`: what its request and it came to, as the endpoint counted. `told`: the circumstances that
        the model knows of from here on.
        """
        message = clean_message(message, self._redact)
        entry: dict[str, Any] = {"type": "message", "message": to_plain(message)}
        facts = {"call_id": call_id, "turn": turn, "tokens": tokens, "told": told}
        facts |= {"binding": message.binding, "command": message.command}
        name = self._append(entry | {key: value for key, value in facts.items() if value}, clean=False)
        self._join(name, message, self._head, facts)
        return name

    def mark_draft(self, entry: str, *, reason: str) -> None:
        """A reply on the path was held back: it stays there, as a draft, and never was the user's answer."""
        self._append({"type": "draft", "of": entry, "reason": reason})
        self._messages[entry] = replace(self._messages[entry], draft=True)

    def guide(self, plugin: str, text: str, *, turn: str, iteration: int, alternate: bool = False) -> Guidance:
        """Guidance of a plugin, after the head. Call it directly before the request goes out.

        `alternate`: the endpoint insists that roles take turns. Where it stands is decided here, once and for all: behind what was not
        sent yet as its end, else as a message of its own.
        """
        assert self._head is not None, "guidance follows a message"
        last = self.sent_steps()[-1][1]
        fresh = self._went_out != self._head
        form = form_of(last.role, fresh=fresh, alternate=alternate and last.synthetic != "guidance")
        given = Guidance(
            entry="",
            after=self._head,
            place=self._given.line(),
            plugin=plugin,
            turn=turn,
            iteration=iteration,
            text=self._redact(whole(text)),
            form=form,
        )
        given = replace(given, entry=self._append(given.plain(), clean=False))
        self._given.add(given)
        return given

    def went_out(self) -> None:
        """What is there now goes out with a request: nothing may join it any more, only follow."""
        self._went_out = self._head

    def keep(self, name: str, data: dict[str, Any]) -> None:
        """Keep something with this conversation alone: unlike a state, a new conversation does not inherit it."""
        if self._kept.get(name) != data:
            self._append({"type": "kept", "name": name, "data": data})
            self._kept[name] = data

    def compact(self, summary: Message, *, words: Sequence[Message], keep_from: str | None) -> str:
        """From here on `history` is: the system prompt, `words`, `summary`, and the messages from the entry `keep_from` on (None: none).

        One entry, so that a crash leaves all of it or nothing. Returns its id.
        """
        plain = [to_plain(message) for message in words]
        entry = {"type": "compaction", "message": to_plain(summary), "words": plain, "keep_from": keep_from}
        name = self._append(entry)
        self._join(name, clean_message(summary, self._redact), self._head, {})
        self._compactions[name] = tuple(words), keep_from
        return name

    def add_record(self, record: Record, *, turn: str, iteration: int, guidance: Guidance | None = None) -> None:
        """Something durable that belongs to one request, off the message path. `guidance`: what it led to, which is not written twice."""
        clean = clean_value(record.data, self._redact)
        data = record.data if clean == to_plain(record.data) else clean
        entry = {
            "type": "record",
            "kind": record.kind,
            "turn": turn,
            "iteration": iteration,
            "source": record.source,
            "data": data,
        }
        if record.line or record.group:
            entry |= {"line": record.line, "level": record.level, "group": record.group}
        if guidance is not None:
            same = [key for key, value in data.items() if value == guidance.text]
            entry["data"] = {key: value for key, value in data.items() if key not in same}
            entry["guidance"] = {"of": guidance.entry, "keys": same}
        self._append(entry)
        self._records.append(KeptRecord(replace(record, data=data, line=self._redact(record.line)), self._head))
        self._sides.recorded(entry)

    def add_side(self, finished: SideFinished, *, turn: str, iteration: int) -> None:
        """What side work has come to, before anybody is shown it. A record of the same request takes its place (`unrecorded`)."""
        entry = {"type": "side", "turn": turn, "iteration": iteration, "data": to_plain(finished)}
        self._append(entry)
        self._sides.add(entry)

    def unrecorded(self) -> tuple[dict[str, Any], ...]:
        """What side work had come to when the program was killed before it was recorded (in mid-counsel), oldest first."""
        return self._sides.unrecorded()

    def newly_unrecorded(self) -> tuple[dict[str, Any], ...]:
        """Those of them that came after the last turn that ended: nobody was told of them yet."""
        return self._sides.untold()

    def add_seen(self, entry: dict[str, Any]) -> None:
        """Something that faces show beside messages and records (`agent.session.seen`): it is shown again where the session is opened."""
        if self._head is None:  # nothing was said yet
            return
        clean = clean_value(entry, self._redact)
        self._append({"type": "seen", **clean}, clean=False)
        if (seen := read_seen(clean)) is not None:
            self._seen.append((seen, self._head))

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

    def rename(self, name: str) -> None:
        """Give it a name. An empty session gets it with its first entry."""
        data = {"name": name}
        if self._head is None and not self._count:
            self.inherit({NAME: data})
        else:
            self.set_state(NAME, data)

    def note(self, entry_type: str, **data: Any) -> None:
        """A plain fact about the session (a turn's end, its folder)."""
        self._append({"type": entry_type, **data})
        if entry_type == "turn_finished":
            self._sides.ended(data.get("turn"))

    def rewind(self, to: str | None, *, reason: str) -> None:
        """Make an earlier message (None: the start) the head. The lines after it stay in the file."""
        self._append({"type": "head", "to": to, "reason": reason})
        self._head = to

    def copy(self) -> str:
        """Make a new session that begins as this one, and return its id. Blocking. Raises StateError."""
        twin = Session.create(self.path.parent, redact=self._redact)
        try:
            write_atomically(twin.path, read_bytes(self.path))  # never half a copy under a session's name
        except OSError as error:
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

    def _append(self, entry: dict[str, Any], *, clean: bool = True) -> str:
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
            plain = clean_value(line, self._redact) if clean else line
            self._file.append(json.dumps(plain, ensure_ascii=False).encode() + b"\n")
        except (StateError, UsageError):
            self._count -= 1
            raise
        return name

    def _read(self) -> None:
        lines, problems = read_lines(self.path)
        for line in lines:
            try:
                self._take(line)
            except (ValueError, KeyError, TypeError) as error:
                problems.append(f"the entry {line.name} can't be understood ({reason(error)}) and was left out")
        self.notices += [f"session {self.id}: {problem}" for problem in problems]
