"""Somebody else's text made fit to be shown: without what steers a terminal, or, in a question, with all that is unseen written out."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

# C0 and C1 (ESC among them) but for line ends and tabs; and what changes the direction of writing, which makes a command read as
# another one.
STEERING = r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]"
_ASCII = bytes(code for code in range(128) if re.match(STEERING, chr(code)))

# Letters and marks by their category that no terminal draws. From Unicode's list of default-ignorable code points and of blank letters.
_BLANK = frozenset(
    (
        *"\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0\U0001d159",
        *map(chr, range(0x180B, 0x1810)),
        *map(chr, range(0xFE00, 0xFE10)),
        *map(chr, range(0xE0100, 0xE01F0)),
    )
)
_UNSEEN_CATEGORIES = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))


def harmless(text: str) -> str:
    """The text without control characters: what a model, a page or a tool says can't steer the terminal."""
    return text if text.isprintable() else re.sub(STEERING, "", text)


def steers(text: str) -> bool:
    """Whether `harmless` takes anything out of it."""
    if text.isprintable():
        return False
    if text.isascii():  # many times as fast as looking with the expression
        return len(text.encode().translate(None, _ASCII)) != len(text)
    return re.search(STEERING, text) is not None


def harmless_value(value: Any) -> Any:
    """The same for every string in plain JSON, names of members too."""
    if isinstance(value, str):
        return harmless(value)
    if isinstance(value, dict):
        return {harmless_value(key): harmless_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [harmless_value(item) for item in value]
    return value


def last_words(window: str, most: int, *, whole: bool) -> str:
    """The tail of what is being said, on one line of at most so many characters, nothing but printable ones. `whole`: the window has all of
    it. Where it has not, it begins with a whole word: the rest of a cut one could be the rest of a key, which nobody would know for one."""
    flat = " ".join("".join(char if char.isprintable() else " " for char in window).split())
    return flat if whole and len(flat) <= most else re.sub(r"^[!-~]+", "", flat[-most:]).lstrip()


def visible(text: str) -> str:
    """The text with what can't be seen written out (`\\x1b`), for a question about it: nobody should allow what they can't see.

    Line ends and tabs stay; so do the joiners and selectors within an emoji, which are seen by what they make of it.
    """
    if text.isascii() and text.isprintable():
        return text
    text = text.replace("\r\n", "\n")
    return "".join(_escaped(char) if _is_unseen(text, at) else char for at, char in enumerate(text))


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode()


def _is_unseen(text: str, at: int) -> bool:
    char = text[at]
    if char in " \n\t" or (char.isascii() and char.isprintable()):
        return False
    if char in _BLANK or char == "\u200d":
        return not _joins_emoji(text, at)
    category = unicodedata.category(char)
    return category in _UNSEEN_CATEGORIES or category == "Zs"


def _joins_emoji(text: str, at: int) -> bool:
    """Whether a joiner stands between two pictures, or the emoji selector behind one."""
    # Before it there may be an emoji selector, or a skin colour.
    before = re.sub(r"[\ufe0f\U0001f3fb-\U0001f3ff]$", "", text[max(0, at - 2) : at])[-1:]
    after = text[at + 1 : at + 2]
    if text[at] == "\u200d":
        return _is_picture(before) and _is_picture(after)
    return text[at] == "\ufe0f" and text[at - 1 : at] != "\ufe0f" and _is_picture(before)


def _is_picture(char: str) -> bool:
    return bool(char) and unicodedata.category(char) == "So" and char != "\u2800"
