"""The program in a real pseudo-terminal: what it writes, when, and what it costs the processor. Linux, and where /proc is alike."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

_ESCAPES = re.compile(rb"\x1b\[[0-9;:?<>=]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[P_^][^\x1b]*\x1b\\|\x1b.")


class Terminal:
    """A command with a terminal of its own. `output` is everything that it has written."""

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        env: Mapping[str, str],
        cwd: Path,
        size: tuple[int, int] = (120, 40),
    ) -> None:
        width, height = size
        self.output = bytearray()
        self.started = time.monotonic()
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            with suppress(OSError):
                os.chdir(cwd)
                os.execve(str(command[0]), [str(part) for part in command], {"TERM": "xterm-256color", **env})
            os._exit(127)
        self.resize(width, height)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def resize(self, width: int, height: int) -> None:
        """Give the terminal another size; the program is told."""
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    def write(self, text: str) -> None:
        """Type something."""
        os.write(self._fd, text.encode())

    def text(self, start: int = 0) -> str:
        """What was written from there on, without escape sequences."""
        return _ESCAPES.sub(b"", bytes(self.output[start:])).decode("utf-8", "replace")

    def wait_for(self, what: str | Callable[[], bool], *, timeout_s: float = 30.0, start: int = 0) -> float:
        """Read until a text was written, or something holds. Returns the time (monotonic). Raises TimeoutError, with the output's end."""
        done = (lambda: what in self.text(start)) if isinstance(what, str) else what
        deadline = time.monotonic() + timeout_s
        while not done():
            left = deadline - time.monotonic()
            if left <= 0 or not self.read(left):
                raise TimeoutError(f"the program did not write {what!r}: {self.text()[-600:]!r}")
        return time.monotonic()

    def read(self, timeout_s: float) -> bool:
        """Take what it writes within that time, at least once. False where it has ended."""
        ready, _, _ = select.select([self._fd], [], [], min(timeout_s, 0.5))
        if not ready:
            return True
        try:
            data = os.read(self._fd, 65_536)
        except OSError:
            return False
        self.output += data
        return bool(data)

    def idle(self, seconds: float) -> None:
        """Read along for that long."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if not self.read(left):
                return

    def cpu_s(self) -> float:
        """Seconds of processor time that it has used so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def rss_mb(self) -> float:
        """Megabytes of memory that it holds."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        return int(found[1]) / 1024 if found else float("nan")

    def close(self) -> None:
        """End it, where it still runs."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(self.pid, 0)
        with suppress(OSError):
            os.close(self._fd)
