"""Path patterns, matched segment by segment: `*` and `?` stay within a name, `**` spans folders, `{a,b}` is either.

One matcher for the glob tool, `deny_paths` and approval rules, so that a pattern means the same everywhere. Python 3.11's own
`glob` has no `**` on plain strings and no braces. Patterns come from models and from files of others, so making one and matching
it are bounded: their length, their stars, and no expression goes back over what it has matched.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

MAX_ALTERNATIVES = 64
MAX_LENGTH = 12_288
"""Characters of a pattern: of the longest path, with each of its characters in brackets."""
MAX_STARS = 64
"""Stars in one name, and `**` in one pattern."""


BRACES = re.compile(r"(?<!\[)\{([^{}]*+)\}")


class Glob:
    """One pattern, relative to some root, against paths that are given as their parts below that root.

    A pattern without a slash floats: it matches that name at any depth, as in a .gitignore. Raises ValueError for an empty pattern,
    for one of more than 12,288 characters or 64 stars in a name, and for one whose braces make more than 64 alternatives.
    """

    def __init__(self, pattern: str, *, ignore_case: bool = False) -> None:
        self.pattern = pattern
        self.ignore_case = ignore_case
        if len(pattern) > MAX_LENGTH:
            raise ValueError(f"the pattern has {len(pattern):,} characters; {MAX_LENGTH:,} is the most")
        self._alternatives = [_segments(one, ignore_case) for one in expand_braces(pattern)]
        if not all(self._alternatives):
            raise ValueError("the pattern is empty")

    def match(self, parts: Sequence[str]) -> bool:
        """True where the pattern matches the whole path."""
        if self.ignore_case:
            parts = [part.casefold() for part in parts]
        return any(_match(segments, parts) for segments in self._alternatives)


def expand_braces(pattern: str) -> list[str]:
    """`*.{c,h}` as `*.c` and `*.h`; nested ones too. A brace without a partner or a comma is an ordinary character, and so is
    one behind a `[`."""
    done: list[str] = []
    waiting = [pattern]
    while waiting:
        if len(done) + len(waiting) > MAX_ALTERNATIVES:
            raise ValueError(f"the braces make more than {MAX_ALTERNATIVES} alternatives")
        text = waiting.pop(0)
        found = next((each for each in BRACES.finditer(text) if "," in each[1]), None)
        if found is None:
            done.append(text)
            continue
        before, after = text[: found.start()], text[found.end() :]
        waiting += [before + choice + after for choice in found[1].split(",")]
    return done


def escape(text: str) -> str:
    """A path as a pattern that matches it alone."""
    return re.sub(r"([*?\[{])", r"[\1]", text)


def matches_text(pattern: str, text: str) -> bool:
    """Whether a text is what a pattern says in which `*` stands for any text (slashes and line ends too) and `\\*` for a star."""
    first, *rest = (piece.replace("\\*", "*") for piece in re.split(r"(?<!\\)\*+", pattern))
    if not rest:
        return text == first
    *middle, last = rest
    if not text.startswith(first) or not text.endswith(last) or len(text) < len(first) + len(last):
        return False
    at, end = len(first), len(text) - len(last)
    for piece in middle:  # the first place that fits leaves the most for the others
        found = text.find(piece, at, end)
        if found < 0:
            return False
        at = found + len(piece)
    return True


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
        segments.append(re.compile(_expression(part.casefold() if ignore_case else part)).match)
    if segments.count(None) > MAX_STARS:
        raise ValueError(f"the pattern has more than {MAX_STARS} times **")
    return segments


def _expression(segment: str) -> str:
    """One name's pattern as a regular expression, by the rules of `fnmatch`. Takes time in proportion to its length."""
    pieces: list[list[str]] = [[]]  # what stands between the stars
    at = 0
    may_close = True  # whether a `]` may still come
    while at < len(segment):
        char = segment[at]
        at += 1
        if char == "*":
            if len(pieces) == 1 or pieces[-1]:
                pieces.append([])
            continue
        if char == "[" and may_close:
            # A ] that comes first, behind a ! or not, stands for itself.
            start = at + (segment[at : at + 1] == "!")
            end = segment.find("]", start + (segment[start : start + 1] == "]"))
            if end >= 0:
                pieces[-1].append(_one_of(segment[at:end]))
                at = end + 1
                continue
            may_close = False
        pieces[-1].append("." if char == "?" else re.escape(char))
    if len(pieces) > MAX_STARS + 1:
        raise ValueError(f"a name in the pattern has more than {MAX_STARS} stars")
    first, *rest = ("".join(piece) for piece in pieces)
    if not rest:
        return rf"(?s:{first})\Z"
    # Atomic: once a piece was found, no other place is tried for it. The first one leaves the most for those behind it.
    middle = "".join(f"(?>.*?{piece})" for piece in rest[:-1])
    return rf"(?s:{first}{middle}.*{rest[-1]})\Z"


def _one_of(inside: str) -> str:
    """`[abc]`, `[!a-z]`: one of these characters."""
    negated, inside = inside.startswith("!"), inside.removeprefix("!")
    done, at = "", 0
    while at < len(inside):
        if inside[at + 1 : at + 2] == "-" and at + 2 < len(inside):
            if inside[at] <= inside[at + 2]:
                done += f"{re.escape(inside[at])}-{re.escape(inside[at + 2])}"
            at += 3
        else:
            done += re.escape(inside[at])
            at += 1
    if not done:  # z-a: nothing is in there
        return "." if negated else "(?!)"
    return f"[{'^' if negated else ''}{done}]"


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
