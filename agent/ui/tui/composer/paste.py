"""Pastes: cleaned, and where they are long shown as a token that stands for them until the message is sent."""

from __future__ import annotations

import re
import shlex
from urllib.parse import unquote, urlsplit

from agent.text.cleaning import harmless
from agent.text.numbers import plural
from agent.ui.mentions import is_image, mention, smuggled

MAX_LINES = 20
MAX_CHARS = 2_000
"""A paste beyond either becomes a token."""

MAX_SHOWN_LINES = 400
MAX_SHOWN_CHARS = 20_000
"""A text that comes back (from $EDITOR, the history, the queue) stays editable up to here: it was the user's own."""


class Pastes:
    """Long texts by the tokens that stand for them (`[pasted 12,345 lines]`).

    A token lives as long as the composer does, since undo may bring it back at any time.
    """

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}
        self._pattern: re.Pattern[str] | None = None

    def take(self, text: str) -> str:
        """What to insert for a pasted text: itself, or a token where it is long, or mentions images, which it is not searched for then."""
        if smuggled(text):
            return self._shorten(text, 0, 0)
        return self._shorten(text, MAX_LINES, MAX_CHARS)

    def give_back(self, text: str) -> str:
        """What to show of a text that returns to the composer: itself, or a token where editing it in place would be slow."""
        return self._shorten(text, MAX_SHOWN_LINES, MAX_SHOWN_CHARS)

    def add(self, label: str, text: str) -> str:
        """A token of one's own wording, made unique."""
        number = 2
        token = f"[{label}]"
        while self._texts.get(token, text) != text:
            token, number = f"[{label} #{number}]", number + 1
        self._texts[token] = text
        self._pattern = re.compile("|".join(re.escape(known) for known in self._texts))
        return token

    def expand(self, text: str) -> str:
        """The text with every token replaced by what it stands for.

        What was pasted is never a command: where the message begins with a token and that with `/` or `!`, a space is put first.
        """
        if self._pattern is None:
            return text
        first = self._pattern.match(text)
        space = " " if first is not None and self._texts[first.group()].startswith(("/", "!")) else ""
        return space + self._pattern.sub(lambda found: self._texts[found.group()], text)

    def spans(self, line: str) -> list[tuple[int, int]]:
        """Where tokens stand in a line."""
        return [] if self._pattern is None else [found.span() for found in self._pattern.finditer(line)]

    def _shorten(self, text: str, lines: int, chars: int) -> str:
        count = text.count("\n") + (not text.endswith("\n"))
        if count > lines:
            return self.add(f"pasted {plural(count, 'line')}", text)
        return text if len(text) <= chars else self.add(f"pasted {len(text):,} characters", text)


def clean(text: str) -> str:
    """A pasted text as plain text: one kind of line end, no control characters. A dropped image's path becomes a mention of it."""
    text = harmless(text.replace("\r\n", "\n").replace("\r", "\n"))
    return _dropped_image(text) or text


def _dropped_image(text: str) -> str | None:
    """Terminals paste the path of a file that is dropped on them: quoted, escaped, or as a file URL."""
    if len(text) > 4_096 or "\n" in text.strip() or not is_image(text.strip().strip("'\"")):
        return None
    try:
        words = shlex.split(text)
    except ValueError:
        return None
    if len(words) != 1:
        return None
    path = unquote(urlsplit(words[0]).path) if words[0].startswith("file://") else words[0]
    return mention(path) + " " if path.startswith("/") else None
