"""The folder that the program was started in."""

from __future__ import annotations

from pathlib import Path

from agent.errors import UsageError


def here() -> Path:
    """It. Raises UsageError where it has been removed, or can't be looked at any more."""
    try:
        return Path.cwd()
    except OSError as error:
        raise UsageError(
            f"the folder that the program was started in is gone ({error.strerror})",
            remedy="go to another one, or name one: --cwd FOLDER",
            kind="folder_gone",
        ) from None
