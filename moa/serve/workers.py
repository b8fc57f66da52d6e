"""Several processes behind one listening socket: `moa serve --workers N`.

The parent serves nothing. It has opened the socket, forks the workers, starts another where one dies, and ends them all in order: told to end,
a worker takes no more connections and finishes what it has begun. Whatever they know of each other is in the database.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

TOLD = (signal.SIGTERM, signal.SIGINT)
QUICK_S = 5.0
"""A worker that lives for less than this has failed, and the next one waits."""
LONGEST_PAUSE_S = 10.0
_FAILED = 1


@dataclass(slots=True)
class Worker:
    """One process. `born` is monotonic."""

    number: int
    pid: int
    born: float
    ready: bool = False


@dataclass(slots=True)
class Workers:
    """`work(number, ready)` is what one does: it calls `ready` when it serves, and returns the exit code. `after_s`: so long after they were
    told to end those that still work are killed. `tell` is for people, `gone` is told the pid of
    one that has ended."""

    count: int
    work: Callable[[int, Callable[[], None]], int]
    ready: Callable[[], None]
    tell: Callable[[str], None]
    after_s: float
    gone: Callable[[int], None] = lambda _pid: None
    _running: dict[int, Worker] = field(default_factory=dict)
    _waiting: list[tuple[float, int]] = field(default_factory=list)
    _failures: int = 0
    _told: list[int] = field(default_factory=list)
    _was_ready: bool = False

    def run(self) -> int:
        """Until it is told to end. Returns the exit code: 1 where no worker could ever serve."""
        wake, waker = os.pipe()
        hear, mouth = os.pipe()
        for end in (wake, waker, hear, mouth):
            os.set_blocking(end, False)
        before = {number: signal.signal(number, lambda number, _frame: self._told.append(number)) for number in TOLD}
        before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        woken = signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        ends = (wake, waker, hear, mouth)
        try:
            for number in range(self.count):
                self._start(number, mouth, ends)
            return self._watch(wake, hear, mouth, ends)
        finally:
            signal.set_wakeup_fd(woken)
            for number, handler in before.items():
                signal.signal(number, handler)
            for end in ends:
                os.close(end)

    def _watch(self, wake: int, hear: int, mouth: int, ends: tuple[int, ...]) -> int:
        ending: float | None = None
        code = 0
        while True:
            select.select([wake, hear], [], [], self._pause(ending))
            _drain(wake)
            self._hear(_drain(hear))
            self._bury(ending is None)
            if ending is None and not self._was_ready and self._failures > self.count + 2:
                self.tell("no worker can serve; what is wrong stands above")
                self._told.append(signal.SIGTERM)
                code = _FAILED
            for _told in self._told[:]:
                self._told.pop(0)
                # The second time, what is under way is broken off.
                self._signal(signal.SIGTERM if ending is None else signal.SIGINT)
                ending = ending or time.monotonic() + self.after_s
            if ending is None:
                now = time.monotonic()
                for due, number in [each for each in self._waiting if each[0] <= now]:
                    self._waiting.remove((due, number))
                    self._start(number, mouth, ends)
            elif not self._running:
                return code
            elif time.monotonic() > ending:
                self._signal(signal.SIGKILL)

    def _pause(self, ending: float | None) -> float | None:
        due = [time for time, _number in self._waiting] if ending is None else [ending + 0.1]
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _start(self, number: int, mouth: int, ends: tuple[int, ...]) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        parent = os.getpid()
        pid = os.fork()
        if pid:
            self._running[pid] = Worker(number, pid, time.monotonic())
            return
        code = _FAILED
        try:
            signal.set_wakeup_fd(-1)
            for told in (*TOLD, signal.SIGCHLD):
                signal.signal(told, signal.SIG_DFL)
            for end in ends:
                if end != mouth:
                    os.close(end)
            _end_with(parent)
            code = self.work(number, lambda: _say(mouth))
        except BaseException:
            traceback.print_exc()
        finally:
            with suppress(OSError, ValueError):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)

    def _hear(self, said: bytes) -> None:
        """Which of them serve now: four bytes for each."""
        for at in range(0, len(said) - 3, 4):
            worker = self._running.get(int.from_bytes(said[at : at + 4], "big"))
            if worker is not None:
                worker.ready = True
        if not self._was_ready and sum(worker.ready for worker in self._running.values()) == self.count:
            self._was_ready = True
            self.ready()

    def _bury(self, goes_on: bool) -> None:
        for pid in list(self._running):
            with suppress(ChildProcessError):
                done, status = os.waitpid(pid, os.WNOHANG)
                if not done:
                    continue
            worker = self._running.pop(pid)
            self.gone(pid)
            if not goes_on:
                continue
            now = time.monotonic()
            quick = now - worker.born < QUICK_S or not worker.ready
            self._failures = self._failures + 1 if quick else 0
            pause = min(0.1 * 2 ** (self._failures - 1), LONGEST_PAUSE_S) if quick else 0.0
            self._waiting.append((now + pause, worker.number))
            self.tell(f"worker {worker.number + 1} ended ({_how(status)}); another takes its place")

    def _signal(self, number: int) -> None:
        for pid in self._running:
            with suppress(ProcessLookupError):
                os.kill(pid, number)


def _drain(end: int) -> bytes:
    found = b""
    with suppress(BlockingIOError):
        while piece := os.read(end, 4096):
            found += piece
    return found


def _say(mouth: int) -> None:
    with suppress(OSError):
        os.write(mouth, os.getpid().to_bytes(4, "big"))


def _how(status: int) -> str:
    if os.WIFSIGNALED(status):
        return signal.Signals(os.WTERMSIG(status)).name
    return f"exit code {os.waitstatus_to_exitcode(status)}"


def _end_with(parent: int) -> None:
    """End in order when the parent is no more, however it went."""
    import threading

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="parent", daemon=True).start()
