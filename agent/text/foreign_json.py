"""The one reader for JSON that somebody else wrote: servers, models, and files that anything may have happened to.

Python's own reader takes what later breaks the program: nesting that a second pass (a copy, a dump, a check) can't follow, numbers of
thousands of digits, which raise a ValueError of another kind or overflow a float, and NaN, which no server takes back. Whatever is read
here can be copied, compared, turned into a float and written again. What is refused stays text, for its owner to keep and to show.
"""

from __future__ import annotations

import json
import math
import re
from codecs import BOM_UTF8
from contextlib import suppress
from functools import cache
from typing import Any

MOST_DEPTH = 100
"""Arrays and objects inside each other. A walk over a value takes a few frames of the interpreter's thousand for each."""

MOST_DIGITS = 300
"""Of a whole number. What has no more fits into a float, too."""

MOST_CHARACTERS = 64 * 1024 * 1024
"""Of one text. No answer, list or file that is meant to be read here comes near it."""

MOST_FLATTENED = 1024 * 1024
"""Characters of a text in which what is too deep is looked for, piece by piece: a hundred times as slow as reading it."""

# Only a text in which this occurs can have a number out of bounds. It begins with a digit, of which most texts have few: so it is found, or not,
# in a quarter of the time.
_LARGE = re.compile(rf"[0-9](?:[0-9]{{{MOST_DIGITS - 1}}}|[eE]\+?[0-9]{{3}})")


_TOKENS = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)


_SPACE = " \t\n\r"
_SHORT = 4096


class ForeignJsonError(json.JSONDecodeError):
    """The text is not JSON, or beyond the bounds. A ValueError, with the place where it went wrong."""


class BeyondBounds(ForeignJsonError):
    """The text is JSON for all we know, but not such as can be used here."""

    def __init__(self, message: str) -> None:
        super().__init__(message, "", 0)

    def __str__(self) -> str:
        return self.msg


def loads(text: str | bytes, *, most: int = MOST_CHARACTERS, tolerant: bool = True, unique: bool = False) -> Any:
    """The value that the whole text is. Bytes are UTF-8, with or without a byte order mark. Raises ForeignJsonError.

    NaN and Infinity, which some servers write where a number is missing, are read as null, and without `tolerant` refused. With `unique` so is
    an object that has a name twice: of those one reader takes the first value, and another one the last.
    """
    text = _decoded(text)
    _check_size(text, most)
    if len(text) < _SHORT and tolerant and not unique and (found := _read_short(text)) is not None:
        return found
    return _read(text, None, strict=True, tolerant=tolerant, unique=unique)[0]


def _read_short(text: str) -> Any:
    """The value that a text is, or None where that takes more than one look: each event of each answer comes by here."""
    few = len(text) <= MOST_DIGITS  # too few characters for a whole number that is out of bounds
    if text.count("{") + text.count("[") > MOST_DEPTH or not (few or _LARGE.search(text) is None):
        return None
    try:
        value, end = (_scan_few if few else _scan)(text, 0)
    except (StopIteration, ValueError):
        return None
    return value if end == len(text) else None


def decode_at(text: str, start: int = 0, *, strict: bool = True, tolerant: bool = True) -> tuple[Any, int]:
    """The value that begins at `start`, and where it ends; what follows is not looked at. Raises ForeignJsonError.

    Without `strict` strings may have line breaks and other control characters in them; `tolerant` as in `loads`.
    """
    _check_size(text, MOST_CHARACTERS)
    return _read(text, start, strict=strict, tolerant=tolerant)


def kept(text: str, start: int = 0) -> Any:
    """The value that begins at `start`, where what is beyond the bounds stands as its own text. Raises ForeignJsonError for what is not JSON.

    For what a server sends: an odd field is no reason to lose the answer around it.
    """
    _check_size(text, MOST_CHARACTERS)
    if start:
        text = text[start:]
    try:
        with suppress(RecursionError):
            value = _keeping().raw_decode(text)[0]
            if not (_may_be_deep(text) and _depth_is_over(value)):
                return value
        if len(text) > MOST_FLATTENED:
            raise _too_deep()
        return _keeping().raw_decode(_flattened(text))[0]
    except ForeignJsonError:
        raise
    except json.JSONDecodeError as error:
        raise ForeignJsonError(error.msg, error.doc, error.pos) from None


def within_bounds(value: Any, *, finite: bool = True) -> bool:
    """False for a value from another reader (TOML, a repair) that is too deep, or has a number that is too long.

    With `finite` also for one with an infinite number or none (NaN) in it, which JSON can't say.
    """
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > MOST_DEPTH + 1 or any(_is_out(item, finite) for item in level):
            return False
        level = [inner for item in level for inner in _children(item)]
    return True


def _decoded(text: str | bytes) -> str:
    if isinstance(text, str):
        return text.removeprefix("\ufeff")
    try:
        return text.removeprefix(BOM_UTF8).decode()
    except UnicodeDecodeError as error:
        raise ForeignJsonError("not UTF-8", "", error.start) from None


def _check_size(text: str, most: int) -> None:
    if len(text) > most:
        raise BeyondBounds(f"longer than {most} characters")


def _read(text: str, start: int | None, *, strict: bool, tolerant: bool, unique: bool = False) -> tuple[Any, int]:
    try:
        reader = _reader(strict, tolerant, bool(_LARGE.search(text, start or 0)), unique)
        value, end = _whole(reader, text) if start is None else reader.raw_decode(text, start)
    except ForeignJsonError:
        raise
    except json.JSONDecodeError as error:
        raise ForeignJsonError(error.msg, error.doc, error.pos) from None
    except RecursionError:
        raise _too_deep() from None
    if _may_be_deep(text) and _depth_is_over(value):
        raise _too_deep()
    return value, end


def _whole(reader: json.JSONDecoder, text: str) -> tuple[Any, int]:
    if text.startswith(("{", "[")):  # most have nothing before them
        value, end = reader.raw_decode(text)
        if end == len(text) or not text[end:].strip(_SPACE):
            return value, end
    return reader.decode(text), len(text)


@cache
def _reader(strict: bool, tolerant: bool, large: bool, unique: bool) -> json.JSONDecoder:
    constant = _null if tolerant else _refuse
    pairs = _unique if unique else None
    if large:
        return json.JSONDecoder(
            strict=strict, parse_constant=constant, object_pairs_hook=pairs, parse_int=_integer, parse_float=_finite
        )
    return json.JSONDecoder(strict=strict, parse_constant=constant, object_pairs_hook=pairs)


@cache
def _keeping() -> json.JSONDecoder:
    return json.JSONDecoder(parse_constant=_null, parse_int=_whole_or_text, parse_float=_finite_or_text)


def _whole_or_text(digits: str) -> int | str:
    return digits if len(digits) > MOST_DIGITS else int(digits)


def _finite_or_text(digits: str) -> float | str:
    number = float(digits)
    return number if math.isfinite(number) else digits


def _flattened(text: str) -> str:
    """The text of a value, in which whatever is nested too deeply is a string. What follows the value is cut off."""
    depth, begun, done = 0, 0, 0
    parts: list[str] = []
    for found in _TOKENS.finditer(text):
        token = found[0]
        if token in ("[", "{"):
            depth += 1
            if depth == MOST_DEPTH + 1:
                begun = found.start()
        elif token in ("]", "}"):
            if depth == MOST_DEPTH + 1:
                parts += [text[done:begun], json.dumps(text[begun : found.end()])]
                done = found.end()
            depth -= 1
            if depth <= 0:
                return "".join([*parts, text[done : found.end()]])
    return "".join([*parts, text[done:]]) if depth <= MOST_DEPTH else "".join([*parts, text[done:begun]])


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _value in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise BeyondBounds(f"an object has {twice[:80]!r} twice")
    return found


def _null(_word: str) -> Any:
    return None


_scan = json.JSONDecoder(parse_constant=_null).scan_once  # type: ignore[attr-defined]


def _refuse(word: str) -> Any:
    raise BeyondBounds(f"{word} is not JSON")


def _integer(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise BeyondBounds(f"a number of more than {MOST_DIGITS} digits")
    return int(digits)


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise BeyondBounds("a number that is too large")
    return number


_scan_few = json.JSONDecoder(parse_constant=_null, parse_float=_finite).scan_once  # type: ignore[attr-defined]


def _too_deep() -> BeyondBounds:
    return BeyondBounds(f"nested deeper than {MOST_DEPTH} levels")


def _may_be_deep(text: str) -> bool:
    return text.count("[") + text.count("{") > MOST_DEPTH


def _depth_is_over(value: Any) -> bool:
    level, depth = _containers([value]), 0
    while level:
        depth += 1
        if depth > MOST_DEPTH:
            return True
        level = _containers([inner for item in level for inner in _children(item)])
    return False


def _containers(items: list[Any]) -> list[Any]:
    return [item for item in items if isinstance(item, dict | list)]


def _children(item: Any) -> list[Any]:
    if isinstance(item, dict):
        return list(item.values())
    return list(item) if isinstance(item, list | tuple) else []


def _is_out(item: Any, finite: bool) -> bool:
    if isinstance(item, float):
        return finite and not math.isfinite(item)
    # A decimal digit takes 3.32 bits; exactness at the bound does not matter.
    return isinstance(item, int) and item.bit_length() > MOST_DIGITS * 3.32
