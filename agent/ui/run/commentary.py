"""Standard error where it is a pipe: written to by a thread, so that a caller who reads standard output first is no deadlock.

A pipe takes some 64 KiB. Who waits for the end of one while the other is full waits for ever, if the program waits, too.
"""

from __future__ import annotations

import contextlib
import io
import os
import stat
import threading
from typing import TextIO, cast

MOST = 8_000_000
"""Bytes that wait; what comes beyond them is counted and left out."""
PATIENCE_S = 2.0
"""Seconds without progress after which the end of the program waits no longer for the reader."""


def commentary(stream: TextIO) -> TextIO:
    """The stream itself, but where it is a pipe: there something to write to that never blocks."""
    try:
        descriptor = stream.fileno()
        piped = stat.S_ISFIFO(os.fstat(descriptor).st_mode) or stat.S_ISSOCK(os.fstat(descriptor).st_mode)
    except (OSError, ValueError, AttributeError):  # closed, replaced by something that is not a file
        return stream
    return cast("TextIO", Commentary(descriptor)) if piped else stream


def finish(stream: TextIO | None) -> None:
    """Wait until what was written to a stream of `commentary` is read, as long as somebody reads."""
    if isinstance(stream, Commentary):
        stream.finish()


class Commentary(io.TextIOBase):
    """A text stream onto a descriptor. Raises OSError from `write` once the reader is gone."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._changed = threading.Condition()
        self._waiting = bytearray()
        self._left_out = 0
        self._busy = False
        self._problem: OSError | None = None
        self._thread: threading.Thread | None = None

    def write(self, text: str) -> int:
        """Take a text to be written."""
        data = text.encode("utf-8", "backslashreplace")
        with self._changed:
            if self._problem is not None:
                raise self._problem
            if len(self._waiting) + len(data) > MOST:
                self._left_out += len(data)
                return len(text)
            if self._left_out:
                self._waiting += f"\n… {self._left_out:,} bytes are left out: nobody read this in time\n".encode()
                self._left_out = 0
            self._waiting += data
            if self._thread is None:
                self._thread = threading.Thread(target=self._write_on, name="commentary", daemon=True)
                self._thread.start()
            self._changed.notify_all()
        return len(text)

    @property
    def pending(self) -> bool:
        """Whether something still waits to be read."""
        return bool(self._waiting or self._busy) and self._problem is None

    def finish(self) -> None:
        """Wait until all is read, or nobody has read for two seconds."""
        with self._changed:
            while self.pending:
                before = len(self._waiting)
                if not self._changed.wait_for(lambda: not self.pending or len(self._waiting) < before, PATIENCE_S):  # noqa: B023
                    return

    def _write_on(self) -> None:
        while True:
            with self._changed:
                self._busy = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._waiting)
                data = bytes(self._waiting[:65536])
                del self._waiting[:65536]
                self._busy = True
            try:
                while data:
                    data = data[os.write(self._descriptor, data) :]
            except OSError as error:
                with self._changed, contextlib.suppress(RuntimeError):
                    self._problem = error
                    self._changed.notify_all()
                return
