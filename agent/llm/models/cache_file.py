"""Writing a file that nobody misses if it can't be written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.files.own_files import make_folder, write_atomically

if TYPE_CHECKING:
    from pathlib import Path


def replace_file(path: Path, text: str) -> bool:
    """Write `text` so that a reader sees the old file or the new one, never a half. False where the folder can't be written."""
    try:
        make_folder(path.parent)
        write_atomically(path, text.encode())
    except OSError:
        return False
    return True
