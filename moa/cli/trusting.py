"""`moa trust`: let a project's `.moa` folder take effect, after a look at it."""

from __future__ import annotations

import sys
from pathlib import Path

from agent.admin.trust import look, trust
from agent.text.cleaning import visible
from moa.admin.presets import of_project


def trust_folder(folder: str, *, sure: bool) -> int:
    """Show what it brings, ask where somebody can answer, and trust it. Returns the exit code; raises UsageError, StateError."""
    offer = look(Path(folder), presets=of_project)
    print(offer.text)
    asks = sys.stdin.isatty() and sys.stdout.isatty() and not (sure or offer.known)
    if asks and input("Trust it? [y/N] ").strip().lower() not in ("y", "yes"):
        print("not trusted; nothing was changed")
        return 1
    print(visible(trust(offer)))
    return 0
