"""Processes in the background: each has a number and a log, can be looked at and stopped, and ends with the session at the latest."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass
from pathlib import Path

from agent.tools.base import ToolError
from agent.tools.output import Output
from agent.tools.process import Child

MAX_RUNNING = 16
MAX_REMEMBERED = 64
TAIL_BYTES = 4_000


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

    def running(self) -> bool:
        """Whether any process of it still runs."""
        return self.child.alive()

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

    def add(self, command: str, child: Child, output: Output, *, adopted: bool = False) -> Job:
        """Look after a process from now on."""
        output.keep()
        self._last += 1
        job = self._jobs[self._last] = Job(self._last, command, child, output, time.monotonic(), adopted)
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
        tail = job.output.tail(TAIL_BYTES).strip("\n")
        more = "the last of its output" if job.output.total > TAIL_BYTES else "its output"
        return f"job {job.number} {job.state()}: {_short(job.command)}\nlog: {job.output.path}\n" + (
            f"{more}:\n{tail}" if tail else "no output yet" if job.running() else "no output"
        )

    async def aclose(self) -> None:
        """End them all, at the end of the session."""
        running = [job for job in self._jobs.values() if job.running()]
        for job in running:
            job.stopped = True
        await asyncio.gather(*(job.child.end() for job in running))
        for job in self._jobs.values():
            job.output.close()

    def _find(self, text: str) -> Job:
        job = self._jobs.get(int(text)) if text.isascii() and text.isdigit() else None
        if job is None:
            known = ", ".join(map(str, self._jobs)) or "none"
            raise ToolError(f"there is no background job {text!r}; there are: {known}")
        return job

    async def _wait(self, job: Job, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        if job.child.returncode is None:
            await job.child.wait(timeout_s)
        await job.child.settle(max(0.0, deadline - time.monotonic()))


def _short(command: str) -> str:
    line = " ".join(command.split())
    return line if len(line) <= 100 else line[:99] + "…"
