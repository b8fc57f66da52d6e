"""The chat in a browser: the same program through textual-serve, on this machine alone. `moa web`, with the extra `web`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path


def run(command: Callable[[str | None], Sequence[str]], sessions: Path, *, port: int | None, open_browser: bool) -> int:
    """Serve until Ctrl+C; returns the exit code. `command` is the program to run in a tab, given the session to resume; `sessions` is the folder of the session files.

    Raises UsageError where the extra is not installed, or the port (None: 8765, or else a free one) is taken.
    """
    from agent.extras import missing

    try:
        from agent.ui.web.server import serve
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("aiohttp", "textual_serve"):
            raise
        raise missing("web", "moa web", "textual-serve") from None
    return serve(command, sessions, port=port, open_browser=open_browser)
