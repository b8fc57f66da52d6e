"""Dataclasses out of plain JSON that may lack any key, or hold anything: what does not fit is left at its default."""

from __future__ import annotations

import dataclasses
import math
import types
from collections.abc import Mapping
from functools import cache
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")
_MISSING = object()


def read(kind: type[T], data: object) -> T:
    """A value of the dataclass `kind`, all of whose fields have defaults. What fits nowhere in it is left out."""
    plain = data if isinstance(data, Mapping) else {}
    found = {}
    for name, hint in _hints(kind).items():  # type: ignore[arg-type]
        value = _fitted(hint, plain.get(name, _MISSING))
        if value is not _MISSING:
            found[name] = value
    return kind(**found)


@cache
def _hints(kind: type) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


def _fitted(hint: Any, value: Any) -> Any:
    """The value as the type wants it, or `_MISSING`."""
    origin, inner = get_origin(hint), get_args(hint)
    if value is _MISSING:
        return value
    if origin in (Union, types.UnionType):
        fits = (_fitted(each, value) for each in inner)
        return next((each for each in fits if each is not _MISSING), _MISSING)
    if origin is tuple:
        items = value if isinstance(value, list | tuple) else ()
        return tuple(each for item in items if (each := _fitted(inner[0], item)) is not _MISSING)
    if dataclasses.is_dataclass(hint):
        return _inner(hint, value)
    if hint is float:
        number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        return float(value) if number else _MISSING
    if hint is int:
        return value if isinstance(value, int) and not isinstance(value, bool) else _MISSING
    expected = types.NoneType if hint is None else origin or hint
    return value if isinstance(value, expected) else _MISSING


def _inner(kind: Any, value: Any) -> Any:
    try:
        return read(kind, value) if isinstance(value, Mapping) else _MISSING
    except TypeError:  # it has a field without a default, and that is missing
        return _MISSING
