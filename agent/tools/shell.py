"""shell: a command, in the foreground or looked after in the background."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, ClassVar

from agent.llm.request import ToolSpec
from agent.tools.base import ToolContext, ToolError, ToolResult
from agent.tools.jobs import ShellJobs, ended
from agent.tools.output import Output, harmless
from agent.tools.process import Child

DEFAULT_S = 120.0
MAX_S = 600.0
LEFTOVER_S = 0.15
"""Seconds that what a command left behind gets to end by itself, before it counts as a background job."""
PROGRESS_S = 0.125
DEPTH = "MOA_DEPTH"
"""How many of our own programs are above this one. At 1 and more nothing fans out to a panel."""


class Shell:
    """Runs a command with bash where there is one, else sh, without standard input and without the user's API keys.

    `strip_env` names the environment variables that hold configured keys; any variable with the same value is left out, too.
    What a shell command touches can't be held to paths: `deny_paths` refuses a command that names a denied file, and only a sandbox
    can do more.
    """

    read_only: ClassVar[bool] = False
    spec: ClassVar[ToolSpec] = ToolSpec(
        name="shell",
        description=(
            "Run a shell command in the working folder and return its output and exit code. There is no input to type. Each call is a new "
            "shell: cd and variables don't carry over. Long output is cut in the middle; the whole is in the file that is named. A command "
            "still running at timeout_s is ended. For a server or a long job use timeout_s = 0 (or end the command with &): it goes on in "
            "the background as a numbered job. Look after jobs with these commands: `:jobs`, `:tail ID`, `:wait ID` (up to timeout_s), "
            "`:stop ID`. All jobs end with the session."
        ),
        parameters={
            "type": "object",
            "properties": {
                "command": {
                    "type": "string",
                    "minLength": 1,
                    "description": "The command, or :jobs, :tail ID, :wait ID, :stop ID.",
                },
                "timeout_s": {
                    "type": "number",
                    "minimum": 0,
                    "description": "Seconds until the command is ended: 120 if not given, 600 at most. 0: run in the background.",
                },
            },
            "required": ["command"],
            "additionalProperties": False,
        },
    )

    def __init__(self, *, strip_env: Collection[str] = (), jobs: ShellJobs | None = None) -> None:
        self.jobs = jobs or ShellJobs()
        self._strip_env = frozenset(strip_env)
        self._calls = 0

    def title(self, arguments: dict[str, Any]) -> str:
        """One line for people."""
        command = " ".join(str(arguments.get("command", "")).split())
        return f"shell {harmless(command if len(command) <= 200 else command[:199] + '…')}"

    def reads_only(self, arguments: dict[str, Any]) -> bool:
        """Looking after jobs needs no approval: they were allowed when they began."""
        return str(arguments.get("command", "")).lstrip().startswith(":")

    async def run(self, context: ToolContext, arguments: dict[str, Any]) -> ToolResult:
        """The output and how it ended. On cancellation the whole process group is ended within a second. Raises ToolError."""
        command = arguments["command"].strip()
        timeout_s = min(float(arguments.get("timeout_s", DEFAULT_S)), MAX_S)
        if command.startswith(":"):
            return ToolResult(await self.jobs.control(command, timeout_s or DEFAULT_S))
        if not command or "\0" in command:
            raise ToolError("the command is empty" if not command else "the command has a NUL character in it")
        if found := context.deny_paths.match_command(command, context.cwd):
            raise ToolError(f"the command names {found[0]}, which the user's settings deny (deny_paths: {found[1]})")
        self.jobs.check_room()
        self._calls += 1
        output = Output(context.scratch / f"shell-{os.getpid()}-{self._calls}.log", log=timeout_s == 0)
        if timeout_s == 0:
            child = await self._start(context, command, output.feed)
            return await self._background(command, child, output)
        progress = _Progress(context.progress)

        def feed(data: bytes) -> None:
            output.feed(data)
            progress.feed(data)

        child = await self._start(context, command, feed)
        kept = False
        try:
            code = await child.wait(timeout_s)
            if code is not None and not await child.settle(LEFTOVER_S):
                kept = True
        finally:
            progress.close()
            if not kept:
                await child.end()
                output.close()
        return self._result(command, child, output, code, timeout_s, kept=kept)

    async def aclose(self) -> None:
        """End all background jobs."""
        await self.jobs.aclose()

    async def _start(self, context: ToolContext, command: str, feed: Callable[[bytes], None]) -> Child:
        try:
            return await Child.start([_shell(), "-c", command], cwd=context.cwd, env=self._environment(), feed=feed)
        except OSError as error:
            raise ToolError(f"the command can't be started: {error.strerror or error}") from error

    def _environment(self) -> dict[str, str]:
        secrets = {value for name in self._strip_env if (value := os.environ.get(name))}
        env = {
            name: value for name, value in os.environ.items() if name not in self._strip_env and value not in secrets
        }
        depth = env.get(DEPTH, "")
        env[DEPTH] = str((int(depth) if depth.isascii() and depth.isdigit() else 0) + 1)
        # Nobody is there to be asked, and nothing here can draw.
        return env | {"TERM": "dumb", "GIT_TERMINAL_PROMPT": "0"}

    async def _background(self, command: str, child: Child, output: Output) -> ToolResult:
        job = self.jobs.add(command, child, output)
        # Long enough to see a command that fails at once; the model would take "started" for success.
        try:
            await child.wait(LEFTOVER_S)
        except asyncio.CancelledError:
            await child.end()
            raise
        if not job.running():
            text = output.render().strip("\n")
            return ToolResult(
                f"{text or '(no output)'}\n[job {job.number} {job.state()} at once]", is_error=bool(child.returncode)
            )
        return ToolResult(
            f"[background job {job.number} is running; log: {output.path}; `:tail {job.number}`, `:stop {job.number}`]",
            full_output=output.path,
        )

    def _result(
        self, command: str, child: Child, output: Output, code: int | None, timeout_s: float, *, kept: bool
    ) -> ToolResult:
        lines = [output.render().strip("\n") or "(no output)"]
        if code is None:
            lines.append(
                f"[timed out after {timeout_s:g} s and was ended, with all it started; the most is {MAX_S:g} s: use timeout_s = 0 for longer]"
            )
        elif code:
            lines.append(f"[{ended(code)}]" if code < 0 else f"[exit code {code}]")
        if kept:
            job = self.jobs.add(command, child, output, adopted=True)
            lines.append(
                f"[what it left running is background job {job.number}; log: {output.path}; `:tail {job.number}`, `:stop {job.number}`]"
            )
        return ToolResult("\n".join(lines), is_error=code != 0, full_output=output.path if output.in_file else None)


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
