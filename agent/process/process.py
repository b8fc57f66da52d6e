"""Child processes that can be ended for certain: each in a session of its own, its output read here, its whole group signalled."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

from agent.process import children

READ_SIZE = 65_536
MARK = "MOA_CHILD"
"""The environment variable by which a child's descendants are known."""
TERM_S = 0.5
"""Seconds between SIGTERM and SIGKILL."""
KILL_S = 0.3
"""Seconds to wait for what was killed to be gone."""


class Child:
    """A running child and all it started that did not leave its process group.

    The pipe is our own, not asyncio's: waiting for the child then never means waiting for a grandchild that still holds the other end.
    A process that makes a session of its own (setsid, a daemon) leaves the group. Where the child is ended before its time, such a
    process is found by a mark in its environment (Linux) and ended, too; elsewhere, and without that mark, it is out of reach. One
    that was left behind by a command that came to its own end lives on: that is what setsid is for.
    """

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        pipe: int,
        feed: Callable[[bytes], None],
        mark: bytes,
        gone: Callable[[], None] = lambda: None,
    ) -> None:
        self.process = process
        self._tell_gone = gone
        self._mark = mark
        self.pid = process.pid
        self._pipe: int | None = pipe
        self._feed = feed
        self._gone = False
        _running.add(self)
        asyncio.get_running_loop().add_reader(pipe, self._read)

    @classmethod
    async def start(
        cls,
        argv: Sequence[str],
        *,
        cwd: Path,
        feed: Callable[[bytes], None],
        env: Mapping[str, str] | None = None,
        stdin: IO[bytes] | int = asyncio.subprocess.DEVNULL,
        stderr: IO[bytes] | int = asyncio.subprocess.STDOUT,
        mark: str | None = None,
        gone: Callable[[], None] = lambda: None,
    ) -> Child:
        """Start a program; `feed` is called with its output as it comes. Raises OSError where it can't be started.

        `mark` is what it and all that it starts are known by (see `new_mark`); `gone` is called once when all are known to be gone.
        `env` is for a command of the model or the user; without it this is a child of ours (`agent.process.children`).
        """
        mark, outer = mark or new_mark(), children.environment(project=cwd) if env is None else env
        # A program of ours that runs within another has the marks of both.
        env = {**outer, MARK: f"{outer.get(MARK, '')}:{mark}"}
        read_end, write_end = os.pipe()
        os.set_blocking(read_end, False)
        try:
            process = await children.start(argv, cwd=cwd, env=env, stdin=stdin, stdout=write_end, stderr=stderr)
        except BaseException:
            os.close(read_end)
            raise
        finally:
            os.close(write_end)
        return cls(process, read_end, feed, mark.encode(), gone)

    @property
    def returncode(self) -> int | None:
        """The exit code of the first process; minus the signal's number where one ended it; None while it runs."""
        return self.process.returncode

    async def wait(self, timeout_s: float | None = None) -> int | None:
        """Wait until the first process ends, and take what it wrote; None where it still runs after `timeout_s`."""
        try:
            await asyncio.wait_for(self.process.wait(), timeout_s)
        except TimeoutError:
            return None
        self._read_rest()
        return self.process.returncode

    async def settle(self, grace_s: float) -> bool:
        """After the first process ended: True as soon as all are gone, False where some are still there after `grace_s`."""
        deadline = time.monotonic() + grace_s
        while self.alive():
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(0.01)
        self._read_rest()
        self._close()
        return True

    def alive(self) -> bool:
        """Whether any process of the group still runs (one that has ended and that nobody waited for does not)."""
        if not self._gone and not (self.process.returncode is None or _group_alive(self.pid)):
            # Never asked again: the number may belong to somebody else from now on.
            self._gone = True
            _running.discard(self)
            self._tell_gone()
        return not self._gone

    async def end(self) -> None:
        """End the whole group, within a second: SIGTERM, then SIGKILL. Safe to call twice, and when cancelled meanwhile."""
        early = self.alive()
        try:
            if early:
                self._signal(signal.SIGTERM)
                self._signal_escaped(signal.SIGTERM)
                if not await self._dead_within(TERM_S):
                    self._signal(signal.SIGKILL)
                    await self._dead_within(KILL_S)
        finally:
            if self.alive():
                self._signal(signal.SIGKILL)
            if early:
                self._signal_escaped(signal.SIGKILL)
            self._read_rest()
            self._close()

    def kill(self) -> None:
        """SIGKILL for the group and for what has left it, now. From any thread; nobody is waited for."""
        self._signal(signal.SIGKILL)
        self._signal_escaped(signal.SIGKILL)

    async def _dead_within(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self.alive():
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(0.01)
        return True

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def _signal_escaped(self, number: int) -> None:
        for pid in marked(self._mark):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)

    def _read(self) -> bool:
        """One chunk from the pipe; False where there is none just now, or never again."""
        if self._pipe is None:
            return False
        try:
            data = os.read(self._pipe, READ_SIZE)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self._close()
            return False
        self._feed(data)
        return True

    def _read_rest(self) -> None:
        # At most what the pipe held, so that a grandchild that never stops writing can't keep us here.
        for _ in range(32):
            if not self._read():
                return

    def _close(self) -> None:
        if self._pipe is not None:
            asyncio.get_running_loop().remove_reader(self._pipe)
            os.close(self._pipe)
            self._pipe = None


_running: set[Child] = set()


def kill_all() -> None:
    """Kill all children that may still run: the process is about to end, and not in order."""
    for child in list(_running):
        if not child._gone:
            child.kill()


def new_mark() -> str:
    """A mark that no other child has."""
    return os.urandom(8).hex()


def marked(mark: bytes) -> list[int]:
    """Processes that were started with this mark in their environment; none where there is no /proc."""
    found = []
    with contextlib.suppress(OSError):
        for entry in os.scandir("/proc"):
            with contextlib.suppress(OSError):  # ended meanwhile, or another user's
                if entry.name.isdigit() and mark in Path(entry.path, "environ").read_bytes():
                    found.append(int(entry.name))
    return found


def _group_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    proc = Path("/proc")
    if not (proc / "self/stat").exists():
        return True
    # A signal reaches zombies, too, and where nobody reaps orphans (a container's first process) they stay for ever.
    for entry in os.scandir(proc):
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError, ValueError, IndexError):
            state, _parent, its_group = (
                (proc / entry.name / "stat").read_text("utf-8", "replace").rsplit(")", 1)[1].split()[:3]
            )
            if int(its_group) == group and state not in "ZX":
                return True
    return False
