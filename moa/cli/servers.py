"""`moa mcp …`: what each of its verbs does."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from agent.admin import mcp as admin
from agent.config.mcp import require_sdk
from agent.errors import UsageError

if TYPE_CHECKING:
    import argparse

    from agent.admin.report import Report


def answer(arguments: argparse.Namespace) -> Report:
    """`list`, `add`, `remove` and `test`. Raises UsageError."""
    match arguments.verb:
        case "list":
            return admin.list_servers()
        case "add":
            return admin.add(
                arguments.name,
                arguments.target[1:] if arguments.target[:1] == ["--"] else arguments.target,
                env=arguments.env,
                headers=arguments.header,
                read_only=arguments.read_only,
                kind=arguments.type,
                cwd=arguments.cwd,
            )
        case "remove":
            return admin.remove(arguments.name)
        case _:
            return asyncio.run(admin.test(arguments.name))


def no_verb(*, at_terminal: bool) -> None:
    """Bare `moa mcp` serves the program that started it. Raises UsageError where that is a person."""
    if at_terminal:
        remedy = "say what to do: moa mcp list, add, remove, test or serve"
        raise UsageError("moa mcp serves other programs, and this is a terminal", remedy=remedy)


def serve(arguments: argparse.Namespace) -> int:
    """`serve`, until the client goes away or the process is stopped. Raises UsageError where the SDK is not installed."""
    require_sdk()
    port: int | None = getattr(arguments, "http", None)
    if port is None:
        from moa.mcp.serve import serve_stdio

        asyncio.run(serve_stdio())
        return 0
    from agent.config.paths import Paths
    from moa.mcp.http import serve_http

    asyncio.run(serve_http(port, Paths.from_env(os.environ).state))
    return 0
