"""Counsel as a task: who speaks today's protocol and declares the extension gets a handle at once, and asks for the result later.

The extension is `io.modelcontextprotocol/tasks` (github.com/modelcontextprotocol/ext-tasks, SEP-2663). The server decides; who does not
declare it gets a plain call. Tasks live in this process, and an hour.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal

from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.extension import Extension, MethodBinding
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, CallToolRequestParams, RequestParams
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import BaseModel

IDENTIFIER = "io.modelcontextprotocol/tasks"
KEEP_S = 3_600.0
POLL_MS = 1_000
MOST_TASKS = 100
Status = Literal["working", "completed", "failed", "cancelled"]

STATUS: ContextVar[Callable[[str], None] | None] = ContextVar("status", default=None)
"""Within a task: takes a word on how it stands."""


class TaskParams(RequestParams):
    """What names a task."""

    task_id: str


@dataclass(slots=True)
class _Task:
    id: str
    created: datetime
    status: Status = "working"
    message: str = "The panel is asked."
    updated: datetime = field(default_factory=lambda: datetime.now(UTC))
    work: asyncio.Task[None] | None = None
    result: dict[str, Any] | None = None
    error: dict[str, Any] | None = None

    def set(self, status: Status, message: str) -> None:
        if (
            self.status != "working"
        ):  # an end stays: a panel that is being stopped still has words on how its members end
            return
        self.status, self.message, self.updated = status, message, datetime.now(UTC)

    def plain(self) -> dict[str, Any]:
        """As it goes over the wire."""
        found: dict[str, Any] = {
            "taskId": self.id,
            "status": self.status,
            "statusMessage": self.message,
            "createdAt": self.created.isoformat(),
            "lastUpdatedAt": self.updated.isoformat(),
            "ttlMs": int(KEEP_S * 1_000),
            "pollIntervalMs": POLL_MS,
        }
        if self.result is not None:
            found["result"] = self.result
        if self.error is not None:
            found["error"] = self.error
        return found


class Tasks(Extension):
    """The extension. `slow` are the tools that become tasks."""

    identifier = IDENTIFIER

    def __init__(self, slow: frozenset[str]) -> None:
        self._slow = slow
        self._tasks: dict[str, _Task] = {}

    def methods(self) -> Sequence[MethodBinding]:
        """`tasks/get`, `tasks/cancel`, and `tasks/update`, which no task of ours ever waits for."""
        today = frozenset(MODERN_PROTOCOL_VERSIONS)
        return (
            MethodBinding("tasks/get", TaskParams, self._get, today),
            MethodBinding("tasks/cancel", TaskParams, self._cancel, today),
            MethodBinding("tasks/update", TaskParams, self._update, today),
        )

    async def intercept_tool_call(
        self, params: CallToolRequestParams, ctx: ServerRequestContext[Any, Any], call_next: CallNext
    ) -> HandlerResult:
        """Make a task of a slow call, for a client that knows what to do with one."""
        able = ctx.session.client_capabilities
        if (
            params.name not in self._slow
            or ctx.protocol_version not in MODERN_PROTOCOL_VERSIONS
            or able is None
            or IDENTIFIER not in (able.extensions or {})
        ):
            return await call_next(ctx)
        self._forget()
        if len(self._tasks) >= MOST_TASKS:
            return await call_next(ctx)
        task = _Task(secrets.token_urlsafe(24), datetime.now(UTC))
        self._tasks[task.id] = task
        # The request is over when the handle is out: nothing can be said on its behalf any more.
        task.work = asyncio.create_task(self._run(task, replace(ctx, meta=None), call_next))
        return {"resultType": "task", **task.plain()}

    async def _run(self, task: _Task, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> None:
        STATUS.set(lambda words: task.set("working", words))
        try:
            result = await call_next(ctx)
        except asyncio.CancelledError:
            task.set("cancelled", "Stopped by the client.")
            raise
        except MCPError as error:
            task.error = {"code": error.code, "message": error.message}
            task.set("failed", error.message)
        except Exception as error:
            task.error = {"code": -32603, "message": f"{type(error).__name__}: {error}"}
            task.set("failed", "It broke off.")
        else:
            if isinstance(result, BaseModel):
                result = result.model_dump(mode="json", by_alias=True, exclude_none=True)
            task.result = {"resultType": "complete", **(result or {})}
            task.set("completed", "The panel has answered.")

    async def _get(self, _ctx: ServerRequestContext[Any, Any], params: TaskParams) -> HandlerResult:
        return {"resultType": "complete", **self._find(params).plain()}

    async def _cancel(self, _ctx: ServerRequestContext[Any, Any], params: TaskParams) -> HandlerResult:
        task = self._find(params)
        if task.work is not None and not task.work.done():
            task.work.cancel()
            await asyncio.wait([task.work])
            if task.status == "working":
                task.set("cancelled", "Stopped by the client.")
        return {"resultType": "complete"}

    async def _update(self, _ctx: ServerRequestContext[Any, Any], params: TaskParams) -> HandlerResult:
        self._find(params)
        return {"resultType": "complete"}

    async def aclose(self) -> None:
        """Stop all that still work."""
        works = [task.work for task in self._tasks.values() if task.work is not None and not task.work.done()]
        for work in works:
            work.cancel()
        if works:
            await asyncio.wait(works)

    def _find(self, params: TaskParams) -> _Task:
        self._forget()
        if (task := self._tasks.get(params.task_id)) is None:
            raise MCPError(code=INVALID_PARAMS, message="there is no such task (any more)")
        return task

    def _forget(self) -> None:
        now = datetime.now(UTC)
        for id, task in list(self._tasks.items()):
            if task.status != "working" and (now - task.updated).total_seconds() > KEEP_S:
                del self._tasks[id]
