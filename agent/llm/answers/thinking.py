"""Thinking that a server sends as part of the answer, between tags: `<think>…</think>` at its very beginning.

Servers without a reasoning parser, or with the wrong one, send it so. Taken for the answer it would be shown as one, stay in the
history, and go from a panel's member to the main model.
"""

from __future__ import annotations

import re
from typing import Literal

Kind = Literal["reasoning", "text"]

TAGS = {
    "<think>": "</think>",
    "<thinking>": "</thinking>",
    "<thought>": "</thought>",
    "<reasoning>": "</reasoning>",
    "<seed:think>": "</seed:think>",
    "[think]": "[/think]",
    "◁think▷": "◁/think▷",
}

_LONE_CLOSE = re.compile(r"(?:\A|\n)[ \t]*</(?:think|thinking)>[ \t]*(?:\n\s*|\Z)", re.IGNORECASE)


class ThinkTags:
    """Tells thinking from answer while the text comes in pieces. Only what stands before the answer's first word can be thinking."""

    def __init__(self) -> None:
        self._state: Literal["undecided", "thinking", "answer"] = "undecided"
        self._held = ""
        self._close = ""
        self._thought = False

    @property
    def is_answer(self) -> bool:
        """Whether whatever comes now is no thinking."""
        return self._state == "answer"

    def feed(self, text: str) -> list[tuple[Kind, str]]:
        """More text: what of it is known, in order. What may still be a tag's beginning waits."""
        if self.is_answer:
            return [("text", text)]
        self._held += text
        found: list[tuple[Kind, str]] = []
        while self._step(found):
            pass
        return found

    def flush(self) -> list[tuple[Kind, str]]:
        """What has waited until the end."""
        held, self._held = self._held, ""
        if not held or (self._state == "undecided" and self._thought and not held.strip()):
            return []
        return [("reasoning" if self._state == "thinking" else "text", held)]

    def _step(self, found: list[tuple[Kind, str]]) -> bool:
        if self._state == "answer":
            return False
        return self._opened(found) if self._state == "undecided" else self._closed(found)

    def _opened(self, found: list[tuple[Kind, str]]) -> bool:
        start = self._held.lstrip()
        lower = start[:16].lower()
        for tag, close in TAGS.items():
            if lower.startswith(tag):
                self._state, self._close, self._thought = "thinking", close, True
                self._held = start[len(tag) :]
                return True
        if not start or any(tag.startswith(lower) for tag in TAGS):
            return False
        self._state = "answer"
        # After a thought the blank lines are the template's.
        found.append(("text", start if self._thought else self._held))
        self._held = ""
        return False

    def _closed(self, found: list[tuple[Kind, str]]) -> bool:
        at = self._held.lower().find(self._close)
        if at >= 0:
            if at:
                found.append(("reasoning", self._held[:at]))
            self._state, self._held = "undecided", self._held[at + len(self._close) :]
            return True
        keep = _overlap(self._held.lower(), self._close)
        said, self._held = self._held[: len(self._held) - keep], self._held[len(self._held) - keep :]
        if said:
            found.append(("reasoning", said))
        return False


def split_lone_close(text: str) -> tuple[str, str] | None:
    """Thinking and answer of a text in which only the closing tag came, because the prompt had opened it; else None.

    The tag must have its line for itself, outside of a code block, with no opening tag before it: an answer may speak of tags.
    """
    found = _LONE_CLOSE.search(text)
    if found is None:
        return None
    before = text[: found.start()]
    if "<think" in before.lower() or before.count("```") % 2:
        return None
    return before, text[found.end() :]


def _overlap(text: str, tag: str) -> int:
    """How many characters at the end of the text may be the tag's beginning."""
    return next((size for size in range(min(len(tag) - 1, len(text)), 0, -1) if text.endswith(tag[:size])), 0)
