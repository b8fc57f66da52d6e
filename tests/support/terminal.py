"""A pseudo-terminal with a program in it: what it writes is collected, keys are sent as a keyboard would."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Self

# Escape sequences: control strings, then everything that begins with ESC [ or another single escape.
SEQUENCES = re.compile(r"\x1b(?:[\]P^_].*?(?:\x07|\x1b\\)|\[[0-?]*[ -/]*[@-~]|[()][0-9A-B]|[=>78DEHMc])", re.DOTALL)


ENDING = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM)


def signals_are_ignored() -> bool:
    """Whether this process was started by `nohup` or in the background, so that its children would be deaf as well."""
    return any(signal.getsignal(each) is signal.SIG_IGN for each in ENDING)


def begin_as_at_a_prompt(*, terminal: bool = False) -> None:
    """For `preexec_fn`: signals as a shell at a prompt leaves them, whatever `nohup` or `&` made this process ignore.

    With `terminal`, standard input becomes the terminal that controls the process, so that Ctrl+C is a signal.
    """
    for each in ENDING:
        signal.signal(each, signal.SIG_DFL)
    if terminal:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)


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
        self.process = subprocess.Popen(
            list(command),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=folder,
            env=dict(environment),
            start_new_session=True,
            preexec_fn=partial(begin_as_at_a_prompt, terminal=True),
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

    def wait_for(self, text: str, timeout_s: float = 15.0, *, after: int = 0) -> None:
        """Wait until a text was written, behind the first `after` characters of `raw`. Raises TimeoutError, with what was."""
        deadline = time.monotonic() + timeout_s
        while text not in SEQUENCES.sub("", self.raw[after:]).replace("\r", ""):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{text!r} never came; what came: {self.text[-3000:]}")
            time.sleep(0.02)

    def end(self, timeout_s: float = 10.0) -> int:
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
