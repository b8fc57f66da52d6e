"""The user's own editor ($VISUAL, $EDITOR), which has the terminal for itself while it runs."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path

from agent.errors import UsageError
from agent.process import children
from agent.process.folder import here

FALLBACKS = ("nano", "vim", "vi")


def command(env: Mapping[str, str] = os.environ) -> list[str]:
    """The user's editor as words. Raises UsageError where there is none, and where the setting is not a command line."""
    setting = env.get("VISUAL") or env.get("EDITOR") or ""
    try:
        words = shlex.split(setting)
    except ValueError as error:
        raise UsageError(f"$EDITOR is {setting!r}: {error}", remedy="set it to a command") from error
    if words:
        return words
    for name in FALLBACKS:
        if children.program(name, env=env):
            return [name]
    raise UsageError("no editor was found", remedy="set $EDITOR")


async def run(path: Path) -> bool:
    """Open a file in it, and wait; False where the editor failed. The caller has let go of the terminal. Raises UsageError where it can't
    be started."""
    words = command()
    try:
        # In the file's own folder: editors take settings from where they start (.exrc, .dir-locals.el).
        process = await children.start(
            [*words, str(path)],
            env=children.environment("desktop", "editor"),
            cwd=path.parent,
            project=here(),
            stdin=None,
            stdout=None,
            stderr=None,
            new_session=False,
        )
    except OSError as error:
        raise UsageError(f"{words[0]} can't be started: {error.strerror}", remedy="set $EDITOR") from error
    return await process.wait() == 0
