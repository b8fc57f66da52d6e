"""One JSON object out of what a model wrote: from the strictest reading to the most broken."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from functools import lru_cache
from typing import Any

from agent.text import foreign_json

_THINKING = "(?:think|thinking|reasoning)"
_LONGEST_REPAIR = 100_000
_MOST_TRIES = 64


class OtherShape(ValueError):
    """Sound JSON that has none of the keys."""


def find_object(text: str, keys: Collection[str]) -> tuple[dict[str, Any], bool]:
    """The object in `text` that has most of `keys`, with its own keys in snake case, and whether it was malformed and mended.

    Think blocks, prose, fences and a single wrapping key (`{"analysis": {…}}`) are looked past; json-repair mends the rest. Raises
    ValueError with a reason that a model can act on, where no object has any of the keys: OtherShape, where there was a sound one.
    """
    if not text.strip():
        raise ValueError("it was empty")
    answer = _without_thinking(text)
    # What looks like thinking may be all there is: some servers apply a schema to the reasoning.
    for part in (answer, text):
        best = max((_unwrapped(one, keys) for one in _objects(part)), key=lambda one: _known(one, keys), default=None)
        if best is not None and _known(best, keys):
            return best, False

    start = answer.find("{")
    if start < 0:
        raise ValueError("there was no JSON object in it")
    from json_repair import repair_json  # most answers never need it

    try:
        mended: Any = repair_json(answer[start : start + _LONGEST_REPAIR], return_objects=True)
    except (ValueError, RecursionError) as error:
        raise ValueError("its JSON was beyond repair") from error
    if not foreign_json.within_bounds(mended):
        raise ValueError("its JSON was nested too deeply, or had a number that is too long")
    found = [one for one in (mended if isinstance(mended, list) else [mended]) if isinstance(one, dict)]
    best = max((_unwrapped(one, keys) for one in found), key=lambda one: _known(one, keys), default=None)
    if best is None or not _known(best, keys):
        wrong = OtherShape if any(True for _ in _objects(answer)) else ValueError
        raise wrong(f"its JSON object had none of the keys {', '.join(keys)}")
    return best, True


@lru_cache(maxsize=1024)  # the keys of one schema, again and again
def snake(key: str) -> str:
    """`blindSpots`, `Blind Spots` and `blind-spots` are `blind_spots`."""
    return re.sub(r"[\s-]+", "_", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", key.strip())).lower()


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """Every outermost JSON object in the text. The number of tries is bounded: a hostile text may be all braces."""
    start = text.find("{")
    for _ in range(_MOST_TRIES):
        if start < 0:
            return
        try:
            value, end = foreign_json.decode_at(text, start)
        except ValueError:
            end = start + 1
        else:
            yield value
        start = text.find("{", end)


def _unwrapped(value: dict[str, Any], keys: Collection[str]) -> dict[str, Any]:
    inner = next(iter(value.values())) if len(value) == 1 else None
    if isinstance(inner, dict) and not _known(value, keys):
        value = inner
    return {snake(str(key)): item for key, item in value.items()}


def _known(value: dict[str, Any], keys: Collection[str]) -> int:
    return sum(snake(str(key)) in keys for key in value)


def _without_thinking(text: str) -> str:
    """What follows the last thinking block, or precedes one that was never closed. Linear, whatever the text is."""
    text = re.split(f"(?i)</{_THINKING}>", text)[-1]
    return re.split(f"(?i)<{_THINKING}>", text)[0]
