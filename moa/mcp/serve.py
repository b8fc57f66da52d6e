"""`moa mcp serve`: the panel as tools for another agent, over standard input and output, or over HTTP on this machine."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Annotated, Any

import mcp_types as types
from mcp.server.mcpserver import Context, MCPServer
from pydantic import Field

from agent.errors import StateError, UsageError
from moa import __version__
from moa.mcp.consulting import Consulted, Consulting
from moa.mcp.tasks import STATUS, Tasks

ABOUT = (
    "A panel of other models gives a second opinion. Ask it with consult before decisions that are costly to get wrong, for critique of a "
    "plan or a result, and when you are stuck. It sees only what you send: put what it has to know into context. Its advice is unverified."
)
Asked = Annotated[str, Field(description="What you want to know, in full sentences.")]
Named = Annotated[str | None, Field(description="Which panel to ask (see presets); absent: the user's default.")]
Known = Annotated[
    str | None,
    Field(description="What the panel has to know: the task, the code, what was tried. It sees nothing else."),
]
Since = Annotated[str | None, Field(description="From when on: 2h, 3d, today, 2026-11-01; absent: everything.")]


def make_server(consulting: Consulting) -> tuple[MCPServer, Tasks]:
    """The server with its three tools, and its tasks."""
    tasks = Tasks(frozenset({"consult"}))
    server = MCPServer("moa", instructions=ABOUT, version=__version__, extensions=[tasks], log_level="ERROR")

    looks = types.ToolAnnotations(read_only_hint=True, open_world_hint=False)

    @server.tool(
        title="Ask the panel",
        annotations=types.ToolAnnotations(read_only_hint=True, open_world_hint=True, idempotent_hint=False),
        structured_output=False,
    )
    async def consult(
        question: Asked, ctx: Context[Any, Any], preset: Named = None, context: Known = None
    ) -> types.CallToolResult:
        """Ask a panel of other models for advice and get a comparison of what they say. Takes several model calls, often half a minute."""
        return await _answered(lambda: _consult(consulting, ctx, question, preset, context))

    @server.tool(title="The panels", annotations=looks, structured_output=False)
    async def presets() -> types.CallToolResult:
        """The panels that can be asked: their names, who sits on them, and which is the default."""

        async def listed() -> types.CallToolResult:
            found = consulting.presets()
            lines = [_line(each) for each in found]
            return _result("\n".join(lines), {"presets": found})

        return await _answered(listed)

    @server.tool(title="What was spent", annotations=looks, structured_output=False)
    async def activity(since: Since = None) -> types.CallToolResult:
        """What model calls have cost on this machine, by role (main model, member, aggregator …), in US dollars and tokens."""

        async def spent() -> types.CallToolResult:
            found = consulting.activity(since)
            return _result(json.dumps(found, ensure_ascii=False, indent=1), found)

        return await _answered(spent)

    return server, tasks


async def serve_stdio() -> None:
    """Serve the one client at the other end of standard input and output, until it closes them."""
    consulting = Consulting()
    server, tasks = make_server(consulting)
    try:
        await server.run_stdio_async()
    finally:
        await tasks.aclose()
        await consulting.aclose()


LAST_WORDS_S = 2.0
"""How long an answer waits for progress that is still on its way to the client."""


async def _consult(
    consulting: Consulting, ctx: Context[Any, Any], question: str, preset: str | None, context: str | None
) -> types.CallToolResult:
    said: asyncio.Queue[tuple[int, int, str] | None] = asyncio.Queue()
    status = STATUS.get()

    def progress(done: int, total: int, words: str) -> None:
        if status is not None:
            status(f"{done} of {total}: {words}")
        else:
            said.put_nowait((done, total, words))

    # In a task of its own: the SDK stops a request again at each of its steps, and a panel that is stopped has connections to close.
    work = consulting.begin(consulting.ask(question, preset, context, progress, level=_level(ctx)))
    teller = asyncio.create_task(_tell(said, ctx)) if status is None else None
    try:
        found = await asyncio.shield(work)
        if teller is not None:  # what was said last goes out before the answer
            said.put_nowait(None)
            await asyncio.wait([teller], timeout=LAST_WORDS_S)
    finally:
        work.cancel()
        if teller is not None:
            teller.cancel()
    return _consulted(found)


async def _tell(said: asyncio.Queue[tuple[int, int, str] | None], ctx: Context[Any, Any]) -> None:
    """Progress for the client, which must grow with each notification: its number is how many there were."""
    count = 0
    while (news := await said.get()) is not None:
        done, total, words = news
        count += 1
        with suppress(Exception):  # a client that hears no progress still gets its answer
            await ctx.report_progress(count, None, f"{done} of {total}: {words}")


def _level(ctx: Context[Any, Any]) -> int:
    """How deep inside of panels the one who asks is, where it is said with an HTTP request."""
    from agent.process.depth import HEADERS, VARIABLE, depth

    request = ctx.request_context.request
    headers = getattr(request, "headers", None) or {}
    return max((depth({VARIABLE: headers[name]}) for name in HEADERS if headers.get(name)), default=0)


async def _answered(work: Callable[[], Awaitable[types.CallToolResult]]) -> types.CallToolResult:
    """The result, or what went wrong, what to do: as a result that the model reads."""
    try:
        return await work()
    except (UsageError, StateError) as error:
        text = f"{error.message}. {error.remedy}" if error.remedy else error.message
        return _result(text, {"error": {"kind": error.kind, "message": error.message}}, failed=True)


def _consulted(found: Consulted) -> types.CallToolResult:
    return _result(found.text, found.facts, failed=found.failed)


def _result(text: str, facts: dict[str, Any], *, failed: bool = False) -> types.CallToolResult:
    return types.CallToolResult(
        content=[types.TextContent(type="text", text=text)], structured_content=facts, is_error=failed
    )


def _line(preset: dict[str, Any]) -> str:
    about = preset["description"] or ", ".join(preset["members"])
    able = "" if preset["runs_here"] else f" (can't be asked here: {preset['why_not']})"
    return f"{preset['name']}{' (default)' if preset['default'] else ''}: {about}{able}"
