"""A raw conversation as a list of small facts, whichever wire it came on: what is hashed, searched for replies, and counted.

System text, developers' text and tools are left out, and so are cache marks: clients rewrite them from request to request.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from agent.text import foreign_json

Role = Literal["user", "assistant", "tool"]
Kind = Literal["text", "call", "result", "image", "thought", "other"]

REMINDERS = ("<system-reminder>", "<environment_context>", "<user_instructions>", "# AGENTS.md instructions")
"""How text begins that a client's program wrote into the user's messages, and takes out again as it likes (Claude Code, Codex)."""
MARKS = frozenset({"cache_control", "prompt_cache_breakpoint"})


@dataclass(frozen=True, slots=True)
class Piece:
    """One thing that was said. `at` is the index of its item in the body's list.

    `text`: the words; a call's arguments as JSON; a thought as far as it can be read. `id`: a call's, also at its result; of a thought what
    seals it (a signature, sealed data). `item`: the upstream's own id of the item.
    """

    at: int
    role: Role
    kind: Kind
    text: str = ""
    id: str = ""
    name: str = ""
    item: str = ""
    is_error: bool = False

    @property
    def is_reminder(self) -> bool:
        """Whether the client's program wrote it, not the user."""
        return self.kind == "text" and self.role == "user" and self.text.lstrip().startswith(REMINDERS)


def canonical(value: Any) -> str:
    """A JSON value as clients can't change it by writing it anew: keys in order, no cache marks. Text that is JSON counts as its value."""
    found = value
    if isinstance(value, str):
        try:
            found = foreign_json.loads(value)
        except ValueError:
            return value.strip()
    return json.dumps(without_marks(found), sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def without_marks(value: Any) -> Any:
    """The value without cache marks, at any depth."""
    if isinstance(value, dict):
        return {key: without_marks(item) for key, item in value.items() if key not in MARKS}
    return [without_marks(item) for item in value] if isinstance(value, list) else value


class Running:
    """A hash over pieces, as far as it has come. Thoughts (clients drop them) and reminders are left out."""

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=16)

    def add(self, piece: Piece) -> None:
        """One more."""
        if piece.kind == "thought" or piece.is_reminder:
            return
        text = piece.text.strip() if piece.kind in ("text", "result") else piece.text
        if piece.kind == "text" and not text:
            return
        for word in (piece.role, piece.kind, piece.id, text):
            data = word.encode("utf-8", "surrogatepass")
            self._hash.update(b"%d:" % len(data))
            self._hash.update(data)

    def digest(self) -> str:
        """Of all so far."""
        return self._hash.hexdigest()


def digest_of(pieces: Iterable[Piece]) -> str:
    """The hash of some pieces alone."""
    running = Running()
    for piece in pieces:
        running.add(piece)
    return running.digest()


def words_of(content: Any, kinds: Sequence[str]) -> tuple[str, list[Any]]:
    """A content's text, and what else there is in it. `content` is a string, or a list of parts of which those of `kinds` are text."""
    if isinstance(content, str):
        return content, []
    if not isinstance(content, list):
        return "", []
    texts, others = [], []
    for part in content:
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, dict) and part.get("type") in kinds and isinstance(part.get("text"), str):
            texts.append(part["text"])
        else:
            others.append(part)
    return "\n".join(texts), others


def text(value: Any) -> str:
    """The value if it is a string, else an empty one."""
    return value if isinstance(value, str) else ""


def dicts(value: Any) -> list[dict[str, Any]]:
    """The objects of a list, whatever the value is."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
