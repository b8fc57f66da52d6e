"""A text in the user's own editor ($VISUAL, $EDITOR), while the program goes on behind it."""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import signal
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from textual.app import App, SuspendNotSupported

from agent.errors import UsageError

FALLBACKS = ("nano", "vim", "vi")


def editor_command(env: Mapping[str, str] = os.environ) -> list[str]:
    """The user's editor as words. Raises UsageError where there is none, and where the setting is no command line."""
    setting = env.get("VISUAL") or env.get("EDITOR") or ""
    try:
        words = shlex.split(setting)
    except ValueError as error:
        raise UsageError(f"$EDITOR is {setting!r}: {error}", remedy="set it to a command") from error
    if words:
        return words
    for name in FALLBACKS:
        if shutil.which(name, path=env.get("PATH")):
            return [name]
    raise UsageError("no editor was found", remedy="set $EDITOR")


async def edit_outside(app: App[object], text: str) -> str | None:
    """The text as it is after the user edited it; None where the editor failed. Raises UsageError where it can't be started.

    The turn goes on meanwhile: the event loop is not blocked, only nothing is drawn.
    """
    command = editor_command()
    path = await asyncio.to_thread(_write, text)
    try:
        with _interrupts_ignored(), app.batch_update(), app.suspend():
            process = await asyncio.create_subprocess_exec(*command, str(path))
            code = await process.wait()
        return await asyncio.to_thread(_read, path) if code == 0 else None
    except SuspendNotSupported as error:
        raise UsageError("an editor can't be opened from here", remedy="use a real terminal") from error
    except OSError as error:
        raise UsageError(f"{command[0]} can't be started: {error.strerror}", remedy="set $EDITOR") from error
    finally:
        await asyncio.to_thread(path.unlink, True)


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Ctrl+C in the editor goes to us as well, and must not end us. A handler, since SIG_IGN would be the editor's, too."""
    before = signal.signal(signal.SIGINT, lambda _number, _frame: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _write(text: str) -> Path:
    descriptor, name = tempfile.mkstemp(prefix="prompt-", suffix=".md")  # mode 0600
    with os.fdopen(descriptor, "w", encoding="utf-8", errors="replace") as file:
        file.write(text)
    return Path(name)


def _read(path: Path) -> str:
    # Editors end the last line; what is sent need not.
    return path.read_text(encoding="utf-8", errors="replace").removesuffix("\n")
