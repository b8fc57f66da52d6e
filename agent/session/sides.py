"""What side work came to and no record has yet: kept, so that a killed program loses none of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Sides:
    """The entries of ended side work. A record of the same request takes their place; the end of their turn closes the account."""

    def __init__(self) -> None:
        self._entries: list[dict[str, Any]] = []
        self._told = 0

    def add(self, entry: dict[str, Any]) -> None:
        """Side work has ended."""
        self._entries.append(entry)

    def unrecorded(self) -> tuple[dict[str, Any], ...]:
        """What it came to where no record says so, oldest first."""
        return tuple(entry["data"] for entry in self._entries)

    def untold(self) -> tuple[dict[str, Any], ...]:
        """Those after the last turn that ended."""
        return self.unrecorded()[self._told :]

    def ended(self, turn: Any) -> None:
        """A turn has ended: whatever came of its side work was told."""
        self._entries = [side for side in self._entries if side.get("turn") != turn]
        self._told = len(self._entries)

    def recorded(self, record: Mapping[str, Any]) -> None:
        """A record says what the side work of its request came to."""
        of = (record.get("turn"), record.get("iteration"))
        self._entries = [side for side in self._entries if (side.get("turn"), side.get("iteration")) != of]
