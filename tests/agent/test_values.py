"""Classes made here are what the standard library makes of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from agent import values


def same(make: Callable[..., Any], **options: Any) -> type:
    @make(**options)
    class Point:
        """A point."""

        x: int
        y: Any = 0
        seen: int = dataclasses.field(default=0, compare=False)
        secret: str = dataclasses.field(default="", repr=False, hash=False)

    return Point


def trait(kind: type) -> list[object]:
    one, same_one, other = kind(x=1), kind(x=1, seen=3), kind(x=2, secret="s")
    looped = kind(x=1, y=[])
    looped.y.append(looped)

    def hashed(value: object) -> object:
        try:
            return hash(value)
        except TypeError:
            return "no key"

    def changed(value: Any) -> str:
        try:
            value.x = 5
        except dataclasses.FrozenInstanceError as error:
            return str(error)
        return f"{value.x}"

    return [
        repr(one), repr(other), repr(looped), one == same_one, one == other, one == "x", one != other,
        hashed(one) == hashed(same_one), hashed(one) == "no key", changed(kind(x=3)),
        dataclasses.replace(one, x=9).x, [field.name for field in dataclasses.fields(kind)], hasattr(one, "__dict__"),
    ]  # fmt: skip


@pytest.mark.parametrize("frozen", [True, False])
@pytest.mark.parametrize("slots", [True, False])
def test_a_class_is_the_same(frozen: bool, slots: bool) -> None:
    options = {"frozen": frozen, "slots": slots, "kw_only": True}
    assert trait(same(values.dataclass, **options)) == trait(same(dataclasses.dataclass, **options))


def test_what_a_class_says_itself_stays() -> None:
    @values.dataclass(frozen=True)
    class Loud:
        """It says so itself."""

        x: int

        def __repr__(self) -> str:
            return "loud"

        def __eq__(self, other: object) -> bool:
            return True

        def __hash__(self) -> int:
            return 7

    assert (repr(Loud(1)), Loud(1) == Loud(2), hash(Loud(1))) == ("loud", True, 7)
