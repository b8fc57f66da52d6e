"""A mistake of ours: the traceback goes to a file that a report can come with."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from agent.events import ErrorInfo
from agent.files.own_files import make_folder


def crashed(
    error: BaseException, state: Path | None = None, *, redact: Callable[[str], str] = lambda text: text
) -> ErrorInfo:
    """What to tell the user. The traceback is in `crash.log` in the folder `state`, if it can be written.

    `redact` takes configured secrets out of both; what looks like somebody's key goes in any case. The file is the user's alone.
    """
    import traceback

    from agent.text.masking import mask

    remedy = "please report it"
    if state is not None:
        text = mask(redact("".join(traceback.format_exception(error))))
        try:
            _write_private(state / "crash.log", text.encode("utf-8", "replace"))
            remedy += f", with {state / 'crash.log'}"
        except OSError:
            pass
    message = mask(redact(f"an error of the program itself: {type(error).__name__}: {error}"))
    return ErrorInfo(kind="internal", message=message, remedy=remedy)


def _write_private(file: Path, data: bytes) -> None:
    make_folder(file.parent)
    file.unlink(missing_ok=True)  # an older one may be readable by others
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as log:
        log.write(data)
