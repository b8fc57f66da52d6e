"""Where the project is that a folder belongs to."""

from __future__ import annotations

import os
from pathlib import Path


def project_root(start: Path | None = None) -> Path | None:
    """The repository around a folder, else the folder; None where that is the home folder or holds it: programs are installed there."""
    try:
        here = (start or Path.cwd()).resolve()
    except OSError:  # the current folder is gone
        return None
    root = next((folder for folder in (here, *here.parents) if os.path.lexists(folder / ".git")), here)
    home = Path.home().resolve()
    if home.is_relative_to(root):
        root = here
    return None if home.is_relative_to(root) else root


def roots_around(start: Path | None) -> list[Path]:
    """`project_root`, and the repositories around it: one that was planted below must not hide the project that it lies in."""
    if (root := project_root(start)) is None:
        return []
    home = Path.home().resolve()
    around = [folder for folder in root.parents if os.path.lexists(folder / ".git") and not home.is_relative_to(folder)]
    return [root, *around]
