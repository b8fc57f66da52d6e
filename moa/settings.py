"""The `[moa]` section of config.toml."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agent.config.toml import Table
from agent.values import dataclass

SECTION = "moa"
DEFAULT_PRESET = "budget"
MOST_WITHHELD = 0.5
"""Withheld more often it would rather be off."""


@dataclass(frozen=True, slots=True)
class Settings:
    """`preset` is what bare `/moa` arms; `armed` says whether a new session starts with it armed; `worth` is the share of turns in which counsel
    is taken and not sent, to learn what it is worth."""

    preset: str = DEFAULT_PRESET
    armed: bool = False
    worth: float = 0.0


def read(section: Mapping[str, Any], file: Path) -> Settings:
    """The section, checked. Raises UsageError that names file, key and remedy."""
    table = Table(dict(section), file, SECTION)
    worth = table.number("worth", 0.0) or 0.0
    if worth > MOST_WITHHELD:
        raise table.error(
            "worth", f"is {worth:g}", f"give a share from 0 to {MOST_WITHHELD:g}; 0.2 is one turn of five"
        )
    settings = Settings(table.text("preset", DEFAULT_PRESET) or DEFAULT_PRESET, table.flag("armed", False), worth)
    table.done()
    return settings
