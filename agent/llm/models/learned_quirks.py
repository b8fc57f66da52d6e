"""What endpoints have taught us: features that an endpoint refused for a model, kept over sessions."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from agent.text import foreign_json

if TYPE_CHECKING:
    from pathlib import Path

MAX_AGE_S = 30 * 86_400.0


class QuirkMemory:
    """Learned quirks by ENDPOINT:MODEL, in a JSON file or (without a path) in memory alone.

    It is a cache: a damaged file counts as empty, and a folder that can't be written only means that the lesson is learned again.
    A lesson is forgotten after `MAX_AGE_S` seconds, because servers get better. `now` is the clock, Unix seconds.
    """

    def __init__(self, path: Path | None = None, *, now: Callable[[], float] = time.time) -> None:
        self._path = path
        self._now = now
        self._learned: dict[str, dict[str, float]] | None = None

    def quirks(self, endpoint: str, model: str) -> frozenset[str]:
        """What is remembered for a model at an endpoint."""
        lessons = self._load().get(f"{endpoint}:{model}")
        if not lessons:
            return frozenset()
        oldest = self._now() - MAX_AGE_S
        return frozenset(feature for feature, learned_at in lessons.items() if learned_at > oldest)

    def learn(self, endpoint: str, model: str, feature: str) -> None:
        """Remember that a feature was refused."""
        # Another process may have learned something meanwhile.
        learned = self._learned = _merge(self._read(), self._load())
        learned.setdefault(f"{endpoint}:{model}", {})[feature] = self._now()
        self._write(learned)

    def forget(self, endpoint: str, model: str) -> None:
        """Start afresh with a model."""
        learned = self._load()
        if learned.pop(f"{endpoint}:{model}", None) is not None:
            self._write(learned)

    def _load(self) -> dict[str, dict[str, float]]:
        if self._learned is None:
            self._learned = self._read()
        return self._learned

    def _read(self) -> dict[str, dict[str, float]]:
        if self._path is None:
            return {}
        try:
            found = foreign_json.loads(self._path.read_bytes())
        except (OSError, ValueError):
            return {}
        if not isinstance(found, dict):
            return {}
        return {
            str(key): {str(name): float(at) for name, at in lessons.items() if isinstance(at, int | float)}
            for key, lessons in found.items()
            if isinstance(lessons, dict)
        }

    def _write(self, learned: dict[str, dict[str, float]]) -> None:
        if self._path is None:
            return
        from agent.llm.models.cache_file import replace_file

        replace_file(self._path, json.dumps(learned, indent=1, sort_keys=True))


def _merge(older: dict[str, dict[str, float]], newer: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    merged = {key: dict(lessons) for key, lessons in older.items()}
    for key, lessons in newer.items():
        merged.setdefault(key, {}).update(lessons)
    return merged
