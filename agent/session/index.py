"""Conversations from outside: a list of them, and a search through all, without loading one as a `Session`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from agent.errors import StateError, UsageError
from agent.files.own_files import read_bytes
from agent.session.file import Line, read_lines
from agent.session.tree import NAME
from agent.text.numbers import plural


class Summary(NamedTuple):
    """One conversation. `changed` is Unix seconds, `messages` counts those on its path, `first` is the user's first message.

    `name` is what the user calls it, `origin` the session that it is a copy of; each may be empty.
    """

    id: str
    changed: float
    messages: int
    first: str
    name: str = ""
    origin: str = ""


class Hit(NamedTuple):
    """A message that has the text that was looked for, and the words around it. `number` counts from the start of the session."""

    session: str
    changed: float
    number: int
    role: str
    excerpt: str


LONGEST_NAME = 200
"""Bytes of a session's id or name; file names are not much longer."""
AROUND = 40
"""Characters of an excerpt before and after what was found."""


def summaries(folder: Path, at_most: int | None = None) -> list[Summary]:
    """The conversations of a folder, the last changed first. Blocking."""
    return [_summary(path, changed) for path, changed in newest(folder)[:at_most]]


def search(folder: Path, text: str, *, at_most: int = 200) -> list[Hit]:
    """Messages (and calls of tools) with a text in them, upper and lower case alike, the last changed session first. Blocking."""
    wanted = text.casefold()
    hits: list[Hit] = []
    for path, changed in newest(folder):
        for number, message in enumerate(messages(path), 1):
            if message["role"] == "system":
                continue
            body = plain_text(message)
            at = body.casefold().find(wanted)
            if at < 0:
                continue
            hits.append(Hit(path.stem, changed, number, message["role"], _excerpt(body, at, len(text))))
            if len(hits) == at_most:
                return hits
    return hits


def messages(path: Path) -> list[dict[str, Any]]:
    """The messages on a session's path as plain JSON; a damaged line is passed over, a file that can't be read is empty."""
    return _walked(_lines(path))


def named(folder: Path, name: str) -> list[Path]:
    """The sessions of that name (upper and lower case alike), or where there are none, those whose name begins so. Blocking."""
    wanted = name.casefold()
    names = [(path, name_of(path).casefold()) for path in files(folder)]
    same = sorted(path for path, found in names if found and found == wanted)
    return same or sorted(path for path, found in names if wanted and found.startswith(wanted))


def newest(folder: Path) -> list[tuple[Path, float]]:
    """The files of a folder and when each was changed, the last changed first."""
    found = []
    for path in files(folder):
        with suppress(OSError):  # gone in the meantime, or a link to nowhere
            found.append((path, path.stat().st_mtime))
    return sorted(found, key=lambda each: each[1], reverse=True)


def _walked(lines: list[Line]) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    parents: dict[str, str | None] = {}
    head: str | None = None
    for name, parent, entry in lines:
        if entry["type"] in ("message", "compaction"):
            message = entry.get("message")
            if isinstance(message, dict) and isinstance(message.get("role"), str):
                head, found[name], parents[name] = name, message, parent
                if isinstance(command := entry.get("command"), str):
                    found[name] = {**message, "command": command}
        elif entry["type"] == "head" and (entry["to"] is None or entry["to"] in found):
            head = entry["to"]
    walked: list[dict[str, Any]] = []
    while head is not None and head in found:
        walked.append(found[head])
        head = parents[head]
    walked.reverse()
    return walked


def name_of(path: Path) -> str:
    """A session's name, without reading its JSON: most have none."""
    try:
        raw = read_bytes(path)
    except OSError:
        return ""
    return _name(_lines(path)) if b'"name": "' + NAME.encode() + b'"' in raw else ""


def _name(lines: list[Line]) -> str:
    name = ""
    for line in lines:
        if line.entry["type"] == "state" and line.entry.get("name") == NAME:
            data = line.entry.get("data")
            name = str(data.get("name", "")) if isinstance(data, dict) else name
    return name


def plain_text(message: dict[str, Any]) -> str:
    """What a message says, and what it calls."""
    parts = message.get("parts")
    parts = [part for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []
    texts = [str(part.get("text")) for part in parts if part.get("type") == "text"]
    calls = [f"{part.get('name')} {part.get('arguments')}" for part in parts if part.get("type") == "tool_call"]
    return "\n".join((*texts, *calls))


def line(text: str, limit: int) -> str:
    """A text on one line, cut."""
    flat = " ".join(text[: 4 * limit].split())
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"


def _summary(path: Path, changed: float) -> Summary:
    lines = _lines(path)
    walked = _walked(lines)
    own = (message for message in walked if message["role"] == "user" and not message.get("synthetic"))
    first = next(own, None)
    typed = "" if first is None else first.get("command") or plain_text(first)
    words = line(typed.strip().partition("\n\n")[0], 200)
    origins = [str(each.entry.get("session", "")) for each in lines if each.entry["type"] == "origin"]
    return Summary(path.stem, changed, len(walked), words, _name(lines), origins[-1] if origins else "")


def _lines(path: Path) -> list[Line]:
    try:
        return read_lines(path)[0]
    except (StateError, UsageError):
        return []


def _excerpt(body: str, at: int, length: int) -> str:
    start, end = max(0, at - AROUND), at + length + AROUND
    flat = " ".join(body[start:end].split())
    return ("…" if start else "") + flat + ("…" if end < len(body) else "")


# Finding one


def find(folder: Path, name: str) -> Path:
    """The file of a session, by its id, the name that the user gave it, or an unambiguous beginning of one. Raises UsageError."""
    if len(os.fsencode(name)) > LONGEST_NAME:
        raise UsageError(
            f"{name[:60]!r}… is not a session: a name has at most {LONGEST_NAME} bytes",
            remedy="moa session list shows them",
            kind="unknown_session",
        )
    exact = folder / f"{name}.jsonl"
    if "/" not in name and "\0" not in name and exact.is_file():
        return exact
    matches = sorted(path for path in files(folder) if path.stem.startswith(name))
    if not matches:
        matches = named(folder, name)
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise UsageError(
            f"{name!r} matches {plural(len(matches), 'session')}",
            remedy="be more specific: " + ", ".join(path.stem for path in matches[:5]),
            kind="unknown_session",
        )
    raise UsageError(
        f"there is no session {name!r} in {folder}", remedy="moa session list shows them", kind="unknown_session"
    )


def latest(folder: Path) -> str | None:
    """The id of the session that was written last."""
    found = newest(folder)
    return found[0][0].stem if found else None


def files(folder: Path) -> Iterator[Path]:
    """All session files of a folder."""
    if folder.is_dir():
        yield from folder.glob("*.jsonl")
