"""What a run's own files say, checked: a result's line, and what was asked. They may come from another person, or have been edited."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, get_args

from agent.errors import UsageError
from agent.files.own_files import read_bytes
from agent.text import foreign_json
from moa.bench.arms import Result, Status

LARGEST = 2**53
"""Of a count, of nano-dollars and of seconds: what a JSON reader of any language still has exactly."""

Check = Callable[[Any], bool]


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST


def _is_number(value: Any) -> bool:
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and math.isfinite(value)
        and abs(value) <= LARGEST
    )


def _is_share(value: Any) -> bool:
    return _is_number(value) and 0 <= value <= 1


def _all(check: Check) -> Check:
    return lambda value: isinstance(value, list) and all(map(check, value))


def _each(check: Check) -> Check:
    """An object with such values."""
    return lambda value: isinstance(value, dict) and all(map(check, value.values()))


def _maybe(check: Check) -> Check:
    return lambda value: value is None or check(value)


def _row(*checks: Check) -> Check:
    return lambda value: (
        isinstance(value, list) and len(value) == len(checks) and all(c(v) for c, v in zip(checks, value, strict=True))
    )


def _with(**checks: Check) -> Check:
    """An object that has at least these."""
    return lambda value: (
        isinstance(value, dict) and all(name in value and check(value[name]) for name, check in checks.items())
    )


_TEXTS = _all(_is_text)
_LINE: Mapping[str, tuple[Check, str]] = {
    "str": (_is_text, "a text"),
    "Status": (lambda value: value in get_args(Status), f"one of {', '.join(get_args(Status))}"),
    "float": (_is_share, "a number from 0 to 1"),
    "float | None": (_maybe(_is_number), "a number of seconds"),
    "int": (_is_count, "a count"),
    "bool": (lambda value: isinstance(value, bool), "true or false"),
    "list[str]": (_TEXTS, "a list of texts"),
    "dict[str, int]": (_each(_is_count), "an object of counts"),
    "dict[str, float]": (_each(_is_number), "an object of numbers"),
    "list[dict[str, Any]]": (_all(_with(iteration=_is_count, text=_is_text, steps=_TEXTS)), "a list of what was given"),
    "list[list[Any]]": (_all(_row(_is_count, _is_text, _is_text)), "a list of calls"),
}
"""By the type that a field of `Result` has."""
_FIELDS = {field.name: _LINE[str(field.type)] for field in fields(Result)}
_NEEDED = frozenset(field.name for field in fields(Result) if field.default is field.default_factory is MISSING)

_ARM = _with(name=_is_text, score=_maybe(_is_share), ci95=_row(_is_number, _is_number))
_CARD = _with(id=_is_text, date=_is_text, digest=_is_text, arms=_all(_ARM))
_ASKED: Mapping[str, tuple[Check, str]] = {
    "arms": (lambda value: _TEXTS(value) and len(value) == len({*value}) > 0, "a list of different arms"),
    "items": (_TEXTS, "a list of items"),
    "seed": (
        lambda value: isinstance(value, int) and not isinstance(value, bool) and abs(value) <= LARGEST,
        "a whole number",
    ),
    "suite": (_is_text, "a text"),
    "digest": (_is_text, "a text"),
    "date": (_is_text, "a text"),
}
_MORE: Mapping[str, tuple[Check, str]] = {
    "source": (_is_text, "a text"),
    "data": (_maybe(_is_text), "a path"),
    "store": (_maybe(_is_text), "a place"),
    "model": (_maybe(_is_text), "a model"),
    "engine": (_maybe(_is_text), "a text"),
    "limit": (_maybe(_is_count), "a count"),
    "passes": (_is_count, "a count"),
    "wanted": (_TEXTS, "a list of arms"),
    "judges": (_TEXTS, "a list of models"),
    "warnings": (_TEXTS, "a list of texts"),
    "groups": (_each(_is_text), "an object of texts"),
    "preset": (_maybe(_with(name=_is_text, path=_is_text, text=_is_text)), "an object with name, path and text"),
    "card": (_maybe(_CARD), "a card"),
}
_TO_GO_ON = frozenset({*_ASKED, "source", "data", "limit", "wanted", "preset", "model"})


def results(path: Path) -> Iterator[Result]:
    """The results of a run's lines, in order. What is no JSON is damage (a kill, a full disk), and is passed over.

    Raises UsageError for a line with values that no run writes, and for what is no file to be read.
    """
    for number, line in enumerate(lines(path), 1):
        try:
            row = foreign_json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict):
            yield _result(row, f"{path}, line {number}")


def lines(path: Path) -> list[bytes]:
    """The whole lines of a file, none where it is not there; its torn end is left out. Raises UsageError for what is no file to be read."""
    try:
        data = read_bytes(path)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise _unreadable(path, error) from error
    return data.split(b"\n")[:-1]


def _result(row: Mapping[str, Any], where: str) -> Result:
    known = {name: value for name, value in row.items() if name in _FIELDS}
    _check(known, _FIELDS, where, needed=_NEEDED, remedy="take the line out: its item is asked again with --resume")
    return Result(**known)


def asked(path: Path) -> dict[str, Any]:
    """What a run was asked for. Raises UsageError for what is none."""
    remedy = "begin a new run"
    try:
        found = foreign_json.loads(read_bytes(path))
    except OSError as error:
        raise _unreadable(path, error) from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} can't be read: {error}", remedy=remedy) from error
    if not isinstance(found, dict):
        raise UsageError(f"{path} is not a run", remedy=remedy)
    _check(found, {**_ASKED, **_MORE}, str(path), needed=_TO_GO_ON, remedy=remedy)
    if found.get("pilot") and len(found["arms"]) != 2:
        raise UsageError(f"{path}: a pilot has two arms", remedy=remedy)
    return found


def card(found: Mapping[str, Any], path: Path) -> None:
    """Raises UsageError for what a card can't say of how a run is asked for."""
    needed = {"seed": _ASKED["seed"], **{name: _MORE[name] for name in ("limit", "judges", "passes", "wanted", "card")}}
    remedy = "`moa bench card ID` makes one"
    _check(found, {**needed, "model": _MORE["model"]}, str(path), needed=frozenset(needed), remedy=remedy)


def _check(
    found: Mapping[str, Any],
    checks: Mapping[str, tuple[Check, str]],
    where: str,
    *,
    needed: frozenset[str],
    remedy: str,
) -> None:
    for name in needed - found.keys():
        raise UsageError(f"{where}: {name} is missing", remedy=remedy)
    for name, value in found.items():
        if name in checks and not checks[name][0](value):
            raise UsageError(f"{where}: {name} is not {checks[name][1]}", remedy=remedy)


def _unreadable(path: Path, error: OSError) -> UsageError:
    return UsageError(f"{path} can't be read: {error.strerror or error}", remedy="put it right, or begin a new run")
