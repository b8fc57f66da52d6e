"""Line mode: the chat for terminals that scroll, for SSH, screen readers and dumb terminals. `moa --plain`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agent.host import Host, Options


def run(build: Callable[..., Host], options: Options) -> int:
    """A chat in line mode, until the user leaves. Returns the exit code. Raises UsageError, StateError.

    `build` makes a host from options; it takes `notice` and `progress` for what happens outside of a turn.
    """
    import asyncio

    from agent.ui.line.mode import LineMode

    async def chat() -> int:
        return await LineMode(build, options).run()

    return asyncio.run(chat())
