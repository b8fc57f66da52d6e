"""Serving an editor on standard input and output until it goes away."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agent.host import Options
    from agent.views import View


def serve(options: Options, render: Callable[[View], str]) -> int:
    """Speak ACP until standard input ends; `options` hold for each session, `render` is a View as text.

    Raises UsageError where the `acp` extra is not installed.
    """
    from agent.extras import require

    require("acp", "moa acp", "agent-client-protocol", "acp")
    asyncio.run(_serve(options, render))
    return 0


async def _serve(options: Options, render: Callable[[View], str]) -> None:
    from typing import cast

    import acp
    from acp.stdio import stdio_streams

    from moa.acp.agent import EditorAgent
    from moa.acp.lines import MOST_BYTES, Lines

    agent = EditorAgent(options, render)
    reader, writer = await stdio_streams(limit=MOST_BYTES)
    try:
        # What of the protocol is optional and not here is answered as unknown.
        await acp.run_agent(cast("acp.Agent", agent), Lines(reader, writer))
    finally:
        await agent.aclose()
