"""A text in the user's own editor ($VISUAL, $EDITOR), while the program goes on behind it."""

from __future__ import annotations

import asyncio
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from textual.app import App, SuspendNotSupported

from agent.errors import UsageError
from agent.ui import editor


async def edit_outside(app: App[Any], text: str) -> str | None:
    """The text as it is after the user edited it; None where the editor failed. Raises UsageError where it can't be started.

    The turn goes on meanwhile: the event loop is not blocked, only nothing is drawn.
    """
    editor.command()  # before anything is written
    path = await asyncio.to_thread(_write, text)
    try:
        return await asyncio.to_thread(_read, path) if await edit_file(app, path) else None
    finally:
        await asyncio.to_thread(shutil.rmtree, path.parent, True)


async def edit_file(app: App[Any], path: Path) -> bool:
    """Open a file in the user's editor; False where the editor failed. Raises UsageError where it can't be started."""
    try:
        with _interrupts_ignored(), app.batch_update(), app.suspend():
            return await editor.run(path)
    except SuspendNotSupported as error:
        raise UsageError("an editor can't be opened from here", remedy="use a real terminal") from error


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Ctrl+C in the editor goes to us as well, and must not end us. A handler, since SIG_IGN would be the editor's, too."""
    before = signal.signal(signal.SIGINT, lambda _number, _frame: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _write(text: str) -> Path:
    path = Path(tempfile.mkdtemp(prefix="moa-"), "prompt.md")  # the folder is its owner's alone
    path.write_text(text, encoding="utf-8", errors="replace")
    return path


def _read(path: Path) -> str:
    # Editors end the last line; what is sent need not.
    return path.read_text(encoding="utf-8", errors="replace").removesuffix("\n")
