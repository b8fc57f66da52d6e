"""The `[moa]` section of config.toml."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.config.toml import Table

SECTION = "moa"
DEFAULT_PRESET = "budget"


@dataclass(frozen=True, slots=True)
class Settings:
    """`preset` is what bare `/moa` arms; `armed` says whether a new session starts with it armed."""

    preset: str = DEFAULT_PRESET
    armed: bool = False


def read(section: Mapping[str, Any], file: Path) -> Settings:
    """The section, checked. Raises UsageError that names file, key and remedy."""
    table = Table(dict(section), file, SECTION)
    settings = Settings(table.text("preset", DEFAULT_PRESET) or DEFAULT_PRESET, table.flag("armed", False))
    table.done()
    return settings
