"""A mistake of ours: the traceback goes to a file that a report can come with."""

from __future__ import annotations

import traceback
from pathlib import Path

from agent.events import ErrorInfo


def crashed(error: BaseException, state: Path | None) -> ErrorInfo:
    """What to tell the user. The traceback is in `crash.log` in the folder `state`, if it can be written."""
    remedy = "please report it"
    if state is not None:
        try:
            state.mkdir(parents=True, exist_ok=True)
            (state / "crash.log").write_text("".join(traceback.format_exception(error)), "utf-8", "replace")
            remedy += f", with {state / 'crash.log'}"
        except OSError:
            pass
    message = f"an error of the program itself: {type(error).__name__}: {error}"
    return ErrorInfo(kind="internal", message=message, remedy=remedy)
