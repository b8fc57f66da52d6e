"""Processes in the background: each has a number and a log, can be looked at and stopped, and ends with the session at the latest."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from agent.process.output import Output
from agent.process.process import Child
from agent.text.numbers import whole_number
from agent.tools.base import ToolError

if TYPE_CHECKING:
    from agent.sandbox.sandbox import Sandbox

MAX_RUNNING = 16
MAX_REMEMBERED = 64
TAIL_BYTES = 4_000
SWEEP_S = 1.0
"""Seconds between two looks at what a confined job has made."""


@dataclass(slots=True)
class Job:
    """One of them. `adopted`: what a command left running when it returned, so that nobody will know its exit code."""

    number: int
    command: str
    child: Child
    output: Output
    started: float
    adopted: bool = False
    stopped: bool = False
    sandbox: Sandbox | None = None
    """What confines it; None: nothing does."""
    watch: asyncio.Task[None] | None = None
    last_look: asyncio.Task[None] | None = None
    taken: list[str] = field(default_factory=list)
    """What the sandbox has taken away of its work."""

    def running(self) -> bool:
        """Whether any process of it still runs."""
        return self.child.alive()

    async def look_after(self) -> None:
        """While it is confined and runs: take away what would run later, outside."""
        assert self.sandbox is not None
        while self.running():
            await asyncio.sleep(SWEEP_S)
            self.taken += await self.sandbox.sweep()

    async def finish(self) -> None:
        """To be called when it may have ended: what it made at the very last is looked at, too."""
        if self.sandbox is None or self.running():
            return
        if self.last_look is None:
            self.last_look = asyncio.create_task(self._look_last(self.sandbox))
        await asyncio.shield(self.last_look)

    async def _look_last(self, sandbox: Sandbox) -> None:
        if self.watch is not None:
            self.watch.cancel()
        self.taken += await sandbox.ended()

    def told(self) -> str:
        """What was taken away, as a line of its own; empty where nothing was."""
        if not self.taken:
            return ""
        from agent.sandbox.sandbox import told_taken

        return f"\n[{told_taken(self.taken)}]"

    def state(self) -> str:
        """In words, for the model."""
        if self.running():
            return f"running for {time.monotonic() - self.started:.0f} s"
        if self.stopped:
            return "stopped"
        return "ended" if self.adopted else ended(self.child.returncode)


def ended(code: int | None) -> str:
    """An exit code in words."""
    if code is None:
        return "ended"
    if code < 0:
        import signal

        try:
            return f"ended by {signal.Signals(-code).name}"
        except ValueError:
            return f"ended by signal {-code}"
    return f"ended with exit code {code}"


class ShellJobs:
    """The background jobs of a session."""

    def __init__(self) -> None:
        self._jobs: dict[int, Job] = {}
        self._last = 0
        self._logs = 0

    def log_path(self, scratch: Path) -> Path:
        """A new name for a command's output. With the process number, since a session that is resumed has the same folder."""
        self._logs += 1
        return scratch / f"shell-{os.getpid()}-{self._logs}.log"

    def check_room(self) -> None:
        """Raises ToolError where too many run already."""
        if sum(job.running() for job in self._jobs.values()) >= MAX_RUNNING:
            raise ToolError(f"{MAX_RUNNING} background jobs are running already; stop one first (:jobs, :stop ID)")

    def add(
        self, command: str, child: Child, output: Output, *, adopted: bool = False, sandbox: Sandbox | None = None
    ) -> Job:
        """Look after a process from now on."""
        output.keep()
        self._last += 1
        job = self._jobs[self._last] = Job(
            self._last, command, child, output, time.monotonic(), adopted, sandbox=sandbox
        )
        if sandbox is not None:
            job.watch = asyncio.create_task(_look_after(job))
        for number in [number for number, old in self._jobs.items() if not old.running()][:-MAX_REMEMBERED]:
            del self._jobs[number]
        return job

    async def control(self, command: str, timeout_s: float) -> str:
        """`:jobs`, `:tail ID`, `:wait ID`, `:stop ID`. Raises ToolError for anything else."""
        verb, _, rest = command.strip().partition(" ")
        if verb == ":jobs":
            lines = [f"{job.number}  {job.state()}  {_short(job.command)}" for job in self._jobs.values()]
            return "\n".join(lines) or "no background jobs"
        if verb not in (":tail", ":wait", ":stop"):
            raise ToolError(f"there is no {verb}; there are :jobs, :tail ID, :wait ID and :stop ID")
        job = self._find(rest.strip())
        if verb == ":stop":
            if job.running():
                job.stopped = True
                await job.child.end()
        elif verb == ":wait":
            await self._wait(job, timeout_s)
        await job.finish()
        tail = job.output.tail(TAIL_BYTES).strip("\n")
        more = "the last of its output" if job.output.total > TAIL_BYTES else "its output"
        return (
            f"job {job.number} {job.state()}: {_short(job.command)}\nlog: {job.output.path}\n"
            + (f"{more}:\n{tail}" if tail else "no output yet" if job.running() else "no output")
            + job.told()
        )

    async def aclose(self) -> None:
        """End them all, at the end of the session."""
        running = [job for job in self._jobs.values() if job.running()]
        for job in running:
            job.stopped = True
        await asyncio.gather(*(job.child.end() for job in running))
        for job in self._jobs.values():
            await job.finish()
            job.output.close()

    def _find(self, text: str) -> Job:
        number = whole_number(text)
        job = None if number is None else self._jobs.get(number)
        if job is None:
            known = ", ".join(map(str, self._jobs)) or "none"
            raise ToolError(f"there is no background job {text!r}; there are: {known}")
        return job

    async def _wait(self, job: Job, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        if job.child.returncode is None:
            await job.child.wait(timeout_s)
        await job.child.settle(max(0.0, deadline - time.monotonic()))


async def _look_after(job: Job) -> None:
    await job.look_after()
    job.watch = None  # it need not be cancelled by its own end
    await job.finish()


def _short(command: str) -> str:
    line = " ".join(command.split())
    return line if len(line) <= 100 else line[:99] + "…"
