"""What the tests of tools share: a context on a temporary folder, and one way to call a tool as the loop does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from agent.files.deny_paths import DenyPaths
from agent.mcp.tools import Mcp
from agent.tools.base import Subject, Tool, ToolContext, ToolError, ToolResult
from agent.tools.builtin import builtin_tools
from agent.tools.lib.validate import validate
from agent.web.fetch_tool import WebFetch


def make_context(cwd: Path, *deny: str) -> ToolContext:
    return ToolContext(cwd=cwd, scratch=cwd.parent / f"{cwd.name}-scratch", deny_paths=DenyPaths(deny, cwd))


def tool(name: str) -> Tool:
    return next(one for one in builtin_tools() if one.spec.name == name)


OFFERED = {one.spec.name: one for one in (*builtin_tools(), Mcp({}), WebFetch(cast("Any", None), cast("Any", None)))}


def subject(name: str, arguments: Mapping[str, Any]) -> Subject:
    """What a call of one of the agent's tools is about."""
    return OFFERED[name].subject(dict(arguments))


async def acall(context: ToolContext, what: str | Tool, **arguments: object) -> ToolResult:
    one = tool(what) if isinstance(what, str) else what
    return await one.run(context, validate(json.dumps(arguments), one.spec))


def call(context: ToolContext, what: str | Tool, **arguments: object) -> ToolResult:
    return asyncio.run(acall(context, what, **arguments))


def refused(context: ToolContext, what: str | Tool, **arguments: object) -> str:
    """The error text of a call that must fail."""
    try:
        result = call(context, what, **arguments)
    except ToolError as error:
        return str(error)
    raise AssertionError(f"not refused: {result.text}")
