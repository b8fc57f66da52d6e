"""How each model at each endpoint can be held to JSON: what was asked of it before, and how that went."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal, get_args

from agent.files.own_files import make_folder, write_atomically
from agent.text import foreign_json

Mode = Literal["json_schema", "json_object", "prompt"]

MODES: tuple[Mode, ...] = get_args(Mode)
"""From the strictest to the loosest."""

_MONTH_S = 30 * 86_400.0


class RungMemory:
    """The mode to begin with, by ENDPOINT:MODEL. It is a cache: what can't be read is learned again, and it forgets after 30 days,
    because servers get better. `now` is the clock, Unix seconds.
    """

    def __init__(self, *, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._learned: dict[str, tuple[Mode, float]] = {}

    def mode(self, model: str) -> Mode:
        """The strictest mode that is worth trying."""
        mode, learned_at = self._learned.get(model, (MODES[0], 0.0))
        return mode if self._now() - learned_at < _MONTH_S else MODES[0]

    def learn(self, model: str, mode: Mode) -> None:
        """Everything stricter than `mode` was refused."""
        self._learned[model] = (mode, self._now())

    @classmethod
    def load(cls, path: Path, *, now: Callable[[], float] = time.time) -> RungMemory:
        """Read a saved memory; a missing or damaged file is an empty one, and damaged entries are left out."""
        memory = cls(now=now)
        try:
            found = foreign_json.loads(path.read_bytes())
        except (OSError, ValueError, RecursionError):
            return memory
        for model, entry in found.items() if isinstance(found, dict) else ():
            if not isinstance(entry, dict):
                continue
            mode, learned_at = entry.get("mode"), entry.get("learned_at")
            if mode in MODES and isinstance(learned_at, int | float):
                memory._learned[model] = (mode, float(learned_at))
        return memory

    def save(self, path: Path) -> None:
        """Write it, whole or not at all. Raises OSError."""
        make_folder(path.parent)
        learned = {model: {"mode": mode, "learned_at": at} for model, (mode, at) in sorted(self._learned.items())}
        write_atomically(path, json.dumps(learned, indent=1).encode())
