"""`!`: a shell command of the user's own, run as the agent's shell tool runs one, without asking."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from agent.errors import UsageError
from agent.events import ToolFinished, ToolProgress, ToolStarted
from agent.files.deny_paths import DenyPaths
from agent.llm.messages import ToolCallPart, user
from agent.tools.base import ToolError, ToolResult
from agent.tools.shell import Shell

if TYPE_CHECKING:
    from agent.chat.events import ChatEvent
    from agent.loop.agent import Agent

SOURCE = "user"
"""The `source` of the events: it is not the agent's doing."""
TIMEOUT_S = 600.0


def split(line: str) -> tuple[str, bool]:
    """The command in a line that begins with `!`, and whether the model is to know of it (`!!`: not)."""
    shared = not line.startswith("!!")
    return line.lstrip("!").strip(), shared


async def run(agent: Agent, line: str, listen: Callable[[ChatEvent], None]) -> None:
    """Run it; what it says comes as the events of a tool. With `!` command and output join the conversation as a message of their own.

    Raises UsageError where there is nothing to run, StateError where the session can't be written.
    """
    command, shared = split(line)
    if not command:
        raise UsageError("there is no command after the !", remedy="!COMMAND, or !!COMMAND to keep it from the model")
    shell = agent.tools.tools.get(Shell.spec.name)
    if shell is None:
        raise UsageError("there is no shell here", remedy="say it in words")
    arguments = {"command": command, "timeout_s": TIMEOUT_S}
    call = ToolCallPart(
        id=f"user-{secrets.token_hex(4)}", name=Shell.spec.name, arguments=json.dumps({"command": command})
    )
    context = replace(
        agent.tools.context,
        progress=lambda text: listen(ToolProgress(id=call.id, text=text, source=SOURCE)),
        sandbox=None,  # it is the user's own doing
    )
    if not shared:  # nothing of it is sent anywhere, so nothing need be denied to the user themselves
        context = replace(context, deny_paths=DenyPaths((), context.cwd))
    listen(ToolStarted(call=call, title=f"{'!' if shared else '!!'}{command}", source=SOURCE))
    started = time.monotonic()

    def end(outcome: Literal["ok", "error", "cancelled"], text: str) -> None:
        duration = time.monotonic() - started
        listen(ToolFinished(call=call, outcome=outcome, text=text, duration_s=duration, source=SOURCE))
        if shared:
            agent.begin(user(f"I ran this command myself:\n$ {command}\n{text}", synthetic="shell"))

    try:
        result = await shell.run(context, arguments)
    except asyncio.CancelledError:
        end("cancelled", "[stopped by the user]")
        raise
    except ToolError as problem:
        result = ToolResult(str(problem), is_error=True)
    end("error" if result.is_error else "ok", result.text)
