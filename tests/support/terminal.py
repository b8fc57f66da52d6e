"""A pseudo-terminal with a program in it: what it writes is collected, keys are sent as a keyboard would."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import termios
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from tests.support import warm
from tests.support.waiting import LONG_S, wait_until

# Escape sequences: control strings, then everything that begins with ESC [ or another single escape.
SEQUENCES = re.compile(r"\x1b(?:[\]P^_].*?(?:\x07|\x1b\\)|\[[0-?]*[ -/]*[@-~]|[()][0-9A-B]|[=>78DEHMc])", re.DOTALL)


class Terminal:
    """Runs `command` in a terminal of its own. Use as a context manager: what still runs at the end is killed."""

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        folder: Path,
        *,
        columns: int = 100,
        rows: int = 30,
    ) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.process = warm.popen(
            command, env=environment, cwd=folder, stdin=slave, stdout=slave, stderr=slave, terminal=True
        )
        os.close(slave)
        self.raw = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)
        self._reader.join(10)
        os.close(self._master)

    @property
    def text(self) -> str:
        """What was written so far, without what steers the terminal."""
        return SEQUENCES.sub("", self.raw).replace("\r", "")

    def send(self, keys: str) -> None:
        """Press keys."""
        os.write(self._master, keys.encode())

    def wait_for(self, text: str, timeout_s: float = LONG_S, *, after: int = 0) -> None:
        """Wait until a text was written, behind the first `after` characters of `raw`. Raises AssertionError, with what was."""
        wait_until(
            lambda: text in SEQUENCES.sub("", self.raw[after:]).replace("\r", ""),
            lambda: f"{text!r}; what came: {self.text[-3000:]}",
            timeout_s,
        )

    def end(self, timeout_s: float = LONG_S) -> int:
        """Wait for the program's end; its exit code."""
        code = self.process.wait(timeout_s)
        self._reader.join(timeout_s)
        return code

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._master, 65536)
            except OSError:  # the last one to have the other end open is gone
                return
            if not data:
                return
            self.raw += data.decode("utf-8", "replace")
            if "\x1b[6n" in data.decode("utf-8", "replace"):  # where is the cursor? prompt_toolkit asks
                os.write(self._master, b"\x1b[1;1R")
