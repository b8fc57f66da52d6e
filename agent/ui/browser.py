"""Opening a page in the user's browser."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import sys
from collections.abc import Iterator, Mapping

from agent.process import children

OPEN_S = 10.0
"""Seconds that an opener may take; a browser that stays in the foreground is left to itself then."""


async def open_page(url: str, env: Mapping[str, str] = os.environ) -> bool:
    """Have the first of the user's openers that works show a page; False where none does. Never raises."""
    for command in openers(env):
        with contextlib.suppress(OSError):
            process = await children.start([*command, url], env=children.environment("desktop", env=env))
            try:
                code = await asyncio.wait_for(process.wait(), OPEN_S)
            except TimeoutError:
                return True
            if code == 0:
                return True
    return False


def openers(env: Mapping[str, str], platform: str = sys.platform) -> Iterator[list[str]]:
    """The commands that may open a page, the user's own ($BROWSER) first."""
    for setting in env.get("BROWSER", "").split(os.pathsep):
        with contextlib.suppress(ValueError):
            if words := shlex.split(setting.replace("%s", "")):
                yield words
    if platform == "darwin":
        yield ["open"]
    elif env.get("DISPLAY") or env.get("WAYLAND_DISPLAY") or env.get("WSL_DISTRO_NAME"):
        for name in ("xdg-open", "wslview", "gio open", "firefox", "chromium"):
            yield name.split()
