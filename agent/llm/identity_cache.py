"""What was made of objects that never change, kept by which object it is, for as long as that object lives.

A conversation's messages are the same objects from call to call. So what is made of an old one (its estimate, its item on the wire and
that item's JSON) is made once, and a call costs what its new messages cost. An equal message that is another object is none of them.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Any, Generic, TypeVar, cast
from weakref import ref

MOST_BYTES = 64 * 2**20
MOST_KINDS = 64
ENTRY_BYTES = 400
"""About what an entry takes beside its value."""


T = TypeVar("T")


class _Entry(ref[Any]):
    """What was made of an object, and the way back to where it is kept."""

    __slots__ = ("at", "key", "others", "size", "value")

    at: int
    key: Hashable
    others: tuple[ref[Any], ...]
    size: int
    value: object

    def is_of(self, first: object, others: tuple[object, ...]) -> bool:
        """Whether it was made of these very objects."""
        if self() is not first or len(self.others) != len(others):
            return False
        return not others or all(a() is b for a, b in zip(self.others, others, strict=True))


_SAME = object()
"""Stands for the object itself: a value that held it would keep it alive for ever."""

_kept: dict[Hashable, dict[int, _Entry]] = {}
_size = 0


class Kind(Generic[T]):
    """One kind of value, under `key`: whatever it depends on beside the objects. Ask for a new one each time; it is only a name.

    All kinds share 64 MiB, and begin anew beyond that.
    """

    def __init__(self, key: Hashable, make: Callable[..., T]) -> None:
        self._key = key
        self._make = make
        self._entries = _kept.get(key, {})

    def of(self, first: object, *others: object) -> T:
        """`make(first, *others)`, made anew where it was not made of these very objects the last time."""
        found = self._entries.get(id(first))
        if found is not None and found.is_of(first, others):
            return cast("T", first if found.value is _SAME else found.value)
        value = self._make(first, *others)
        self._keep(value, first, *others)
        return value

    def each(self, objects: Iterable[object]) -> list[T]:
        """`of` for each of these."""
        values: list[Any] = []
        entries = self._entries
        for each in objects:
            found = entries.get(id(each))
            if found is not None and found() is each and not found.others:
                values.append(each if found.value is _SAME else found.value)
            else:
                values.append(self.of(each))
                entries = self._entries
        return values

    def _keep(self, value: T, first: object, *others: object) -> None:
        global _size
        size = ENTRY_BYTES + (getattr(value, "size", 0) if value is not first else 0)
        if _size + size > MOST_BYTES or (self._key not in _kept and len(_kept) >= MOST_KINDS):
            clear()
        if size > MOST_BYTES:
            return
        entry = _Entry(first, _forget)
        entry.key, entry.at, entry.size = self._key, id(first), size
        entry.others, entry.value = tuple(map(ref, others)), _SAME if value is first else value
        self._entries = entries = _kept.setdefault(self._key, {})
        if (old := entries.get(entry.at)) is not None:
            _size -= old.size
        entries[entry.at] = entry
        _size += size


def clear() -> None:
    """Forget everything."""
    global _size
    _kept.clear()
    _size = 0


def size() -> int:
    """About how many bytes are kept."""
    return _size


def _forget(entry: _Entry) -> None:
    """Forget what was made of an object that is gone; another may have its place by now."""
    global _size
    entries = _kept.get(entry.key, {})
    if entries.get(entry.at) is entry:
        del entries[entry.at]
        _size -= entry.size
        if not entries:
            del _kept[entry.key]
