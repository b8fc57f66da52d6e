"""One shell command from start to result."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from agent.process.output import Output, harmless
from agent.process.process import Child, new_mark
from agent.tools.base import ToolContext, ToolError, ToolResult
from agent.tools.lib.jobs import Job, ShellJobs, ended

LEFTOVER_S = 0.15
"""Seconds that what a command left behind gets to end by itself, before it counts as a background job."""
PROGRESS_S = 0.125


async def run_command(
    jobs: ShellJobs, context: ToolContext, command: str, timeout_s: float, env: Mapping[str, str]
) -> ToolResult:
    """Run a command for at most `timeout_s` seconds; at 0 leave it to `jobs` and return at once.

    On cancellation and on time-out the command and all it started are ended within a second. What it leaves running when it returns by
    itself becomes a job. Raises ToolError where it can't be started.
    """
    jobs.check_room()
    output = Output(jobs.log_path(context.scratch), log=timeout_s == 0)
    if timeout_s == 0:
        child, confined = await _start(context, command, env, output.feed)
        return await _in_background(jobs.add(command, child, output, sandbox=context.sandbox if confined else None))
    progress = _Progress(context.progress)

    def feed(data: bytes) -> None:
        output.feed(data)
        progress.feed(data)

    child, confined = await _start(context, command, env, feed)
    left_running = False
    taken: list[str] = []
    sandbox = context.sandbox if confined else None
    try:
        code = await child.wait(timeout_s)
        left_running = code is not None and not await child.settle(LEFTOVER_S)
    finally:
        progress.close()
        if not left_running:
            await child.end()
            output.close()
            if sandbox is not None:
                taken = await sandbox.ended(context.emit if context.turn else None)
    job = jobs.add(command, child, output, adopted=True, sandbox=sandbox) if left_running else None
    if job is not None and sandbox is not None:
        taken = await sandbox.sweep(context.emit if context.turn else None)
    result = _result(output, code, timeout_s, job, sandbox.hint if sandbox is not None else None)
    if taken:
        from agent.sandbox.sandbox import told_taken

        return replace(result, text=f"{result.text}\n[{told_taken(taken)}]")
    return result


async def _start(
    context: ToolContext, command: str, env: Mapping[str, str], feed: Callable[[bytes], None]
) -> tuple[Child, bool]:
    """The running command, and whether it is confined. Raises ToolError."""
    argv: Sequence[str] = [_shell(), "-c", command]
    confined = False
    try:
        if context.sandbox is not None and context.sandbox.confines(seen=context.seen_by_user):
            from agent.sandbox.bubblewrap import Unconfined

            try:
                argv, env, confined = await context.sandbox.confine(
                    argv,
                    env,
                    cwd=context.cwd,
                    scratch=context.scratch,
                    emit=context.emit if context.turn else None,
                    seen=context.seen_by_user,
                )
            except Unconfined as error:
                raise ToolError(str(error)) from None
        mark, running = new_mark(), context.running
        if running is not None:
            running.begin(mark, command)
        gone = partial(running.end, mark) if running is not None else _nothing
        try:
            return await Child.start(argv, cwd=context.cwd, env=env, feed=feed, mark=mark, gone=gone), confined
        except BaseException:
            gone()
            if confined and context.sandbox is not None:
                await context.sandbox.ended()
            raise
    except OSError as error:
        raise ToolError(f"the command can't be started: {error.strerror or error}") from error


def _nothing() -> None:
    """Nobody keeps count of what runs."""


async def _in_background(job: Job) -> ToolResult:
    try:
        # Long enough to see a command that fails at once; the model would take "running" for success.
        await job.child.wait(LEFTOVER_S)
    except asyncio.CancelledError:
        await job.child.end()
        await job.finish()
        raise
    if job.running():
        return ToolResult(f"[background job {job.number} is running; {_how_to(job)}]", full_output=job.output.path)
    await job.finish()
    text = job.output.render().strip("\n") or "(no output)"
    return ToolResult(
        f"{text}{job.told()}\n[job {job.number} {job.state()} at once]",
        is_error=bool(job.child.returncode),
        exit_code=job.child.returncode,
    )


def _result(
    output: Output, code: int | None, timeout_s: float, job: Job | None, hint: Callable[[str], str | None] | None
) -> ToolResult:
    lines = [output.render().strip("\n") or "(no output)"]
    why = hint(lines[0]) if hint is not None and code != 0 else None
    if code is None:
        lines.append(
            f"[timed out after {timeout_s:g} s and was ended with all it started; for longer use timeout_s = 0]"
        )
    elif code:
        lines.append(f"[{ended(code)}]" if code < 0 else f"[exit code {code}]")
    if why is not None:
        lines.append(why)
    if job is not None:
        lines.append(f"[what it left running is background job {job.number}; {_how_to(job)}]")
    full = output.path if output.in_file else None
    return ToolResult("\n".join(lines), is_error=code != 0, exit_code=code, full_output=full)


def _how_to(job: Job) -> str:
    return f"log: {job.output.path}; `:tail {job.number}`, `:stop {job.number}`"


class _Progress:
    """Passes output on as harmless text, at most eight times a second and the last of it alone: it is for eyes."""

    def __init__(self, report: Callable[[str], None]) -> None:
        self._report = report
        self._waiting = bytearray()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    def feed(self, data: bytes) -> None:
        if self._closed:
            return
        self._waiting += data
        del self._waiting[:-4_000]
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(PROGRESS_S, self._flush)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._flush()
        self._closed = True

    def _flush(self) -> None:
        self._timer = None
        if self._waiting:
            text = harmless(self._waiting.decode("utf-8", "replace"))
            self._waiting.clear()
            self._report(text)


def _shell() -> str:
    # Models write bash; the user's own shell may be one whose language is another.
    return next(
        (path for path in ("/bin/bash", "/usr/bin/bash", "/usr/local/bin/bash") if Path(path).exists()), "/bin/sh"
    )
