"""Path patterns, matched segment by segment: `*` and `?` stay within a name, `**` spans folders, `{a,b}` is either.

One matcher for the glob tool, `deny_paths` and approval rules, so that a pattern means the same everywhere. Python 3.11's own
`glob` has no `**` on plain strings and no braces; each segment is left to `fnmatch`, whose expressions can't backtrack without end.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Sequence

MAX_ALTERNATIVES = 64


class Glob:
    """One pattern, relative to some root, against paths that are given as their parts below that root.

    A pattern without a slash floats: it matches that name at any depth, as in a .gitignore. Raises ValueError for an empty pattern
    and for one whose braces make more than 64 alternatives.
    """

    def __init__(self, pattern: str, *, ignore_case: bool = False) -> None:
        self.pattern = pattern
        self.ignore_case = ignore_case
        self._alternatives = [_segments(one, ignore_case) for one in expand_braces(pattern)]
        if not all(self._alternatives):
            raise ValueError("the pattern is empty")

    def match(self, parts: Sequence[str]) -> bool:
        """True where the pattern matches the whole path."""
        if self.ignore_case:
            parts = [part.casefold() for part in parts]
        return any(_match(segments, parts) for segments in self._alternatives)


def expand_braces(pattern: str) -> list[str]:
    """`*.{c,h}` as `*.c` and `*.h`; nested ones too. A brace without a partner or a comma is an ordinary character."""
    done: list[str] = []
    waiting = [pattern]
    while waiting:
        if len(done) + len(waiting) > MAX_ALTERNATIVES:
            raise ValueError(f"the braces make more than {MAX_ALTERNATIVES} alternatives")
        text = waiting.pop(0)
        found = re.search(r"\{([^{}]*,[^{}]*)\}", text)
        if found is None:
            done.append(text)
            continue
        before, after = text[: found.start()], text[found.end() :]
        waiting += [before + choice + after for choice in found[1].split(",")]
    return done


def escape(text: str) -> str:
    """A path as a pattern that matches it alone."""
    return re.sub(r"([*?\[])", r"[\1]", text)


Segment = Callable[[str], object]


def _segments(pattern: str, ignore_case: bool) -> list[Segment | None]:
    """The pattern's segments as matchers; None is `**`."""
    parts = [part for part in pattern.split("/") if part not in ("", ".")]
    if parts and "/" not in pattern.rstrip("/"):
        parts.insert(0, "**")
    segments: list[Segment | None] = []
    for part in parts:
        if part == "**":
            if not segments or segments[-1] is not None:
                segments.append(None)
            continue
        segments.append(re.compile(fnmatch.translate(part.casefold() if ignore_case else part)).match)
    return segments


def _nothing(_part: str) -> None:
    """A segment behind the pattern's end: matches nothing."""


def _match(segments: Sequence[Segment | None], parts: Sequence[str]) -> bool:
    # The classic wildcard walk: on a mismatch go back to the last `**` and let it take one part more. Never exponential.
    at = part = 0
    star, mark = -1, 0
    while part < len(parts):
        segment = segments[at] if at < len(segments) else _nothing
        if segment is None:
            star, mark = at, part
            at += 1
        elif segment(parts[part]):
            at += 1
            part += 1
        elif star >= 0:
            mark += 1
            at, part = star + 1, mark
        else:
            return False
    return all(segment is None for segment in segments[at:])
