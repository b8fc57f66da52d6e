"""Conversations from outside: a list of them, and a search through all, without loading one as a `Session`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from agent.session import files


class Summary(NamedTuple):
    """One conversation. `changed` is Unix seconds, `messages` counts those on its path, `first` is the user's first message."""

    id: str
    changed: float
    messages: int
    first: str


class Hit(NamedTuple):
    """A message that has the text that was looked for, and the words around it. `number` counts from the start of the session."""

    session: str
    changed: float
    number: int
    role: str
    excerpt: str


AROUND = 40
"""Characters of an excerpt before and after what was found."""


def summaries(folder: Path, at_most: int | None = None) -> list[Summary]:
    """The conversations of a folder, the last changed first. Blocking."""
    return [_summary(path, changed) for path, changed in _newest(folder)[:at_most]]


def search(folder: Path, text: str, *, at_most: int = 200) -> list[Hit]:
    """Messages (and calls of tools) with a text in them, upper and lower case alike, the last changed session first. Blocking."""
    wanted = text.casefold()
    hits: list[Hit] = []
    for path, changed in _newest(folder):
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
    found: dict[str, dict[str, Any]] = {}
    parents: dict[str, str | None] = {}
    head: str | None = None
    for line in _lines(path):
        try:
            envelope = json.loads(line)
            entry = envelope["entry"]
            if entry["type"] in ("message", "compaction"):
                head = envelope["id"]
                found[head], parents[head] = entry["message"], envelope["parent"]
            elif entry["type"] == "head":
                head = entry["to"]
        except (ValueError, KeyError, TypeError):
            continue
    walked: list[dict[str, Any]] = []
    while head in found:
        walked.append(found[head])
        head = parents[head]
    walked.reverse()
    return walked


def plain_text(message: dict[str, Any]) -> str:
    """What a message says, and what it calls."""
    parts = message.get("parts") or ()
    texts = [part["text"] for part in parts if part.get("type") == "text"]
    calls = [f"{part['name']} {part['arguments']}" for part in parts if part.get("type") == "tool_call"]
    return "\n".join((*texts, *calls))


def line(text: str, limit: int) -> str:
    """A text on one line, cut."""
    flat = " ".join(text[: 4 * limit].split())
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"


def _summary(path: Path, changed: float) -> Summary:
    walked = messages(path)
    typed = (message for message in walked if message["role"] == "user" and not message.get("synthetic"))
    first = next(typed, None)
    return Summary(path.stem, changed, len(walked), "" if first is None else line(plain_text(first), 200))


def _newest(folder: Path) -> list[tuple[Path, float]]:
    return sorted(((path, path.stat().st_mtime) for path in files(folder)), key=lambda each: each[1], reverse=True)


def _lines(path: Path) -> Iterator[bytes]:
    try:
        yield from path.read_bytes().split(b"\n")
    except OSError:
        return


def _excerpt(body: str, at: int, length: int) -> str:
    start, end = max(0, at - AROUND), at + length + AROUND
    flat = " ".join(body[start:end].split())
    return ("…" if start else "") + flat + ("…" if end < len(body) else "")
