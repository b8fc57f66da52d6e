"""The end of what a child writes to a second pipe (its standard error)."""

from __future__ import annotations

import asyncio
import os


class PipeTail:
    """The end of what comes through a pipe, which is always read, so that nobody waits for room in it."""

    def __init__(self, most: int) -> None:
        self._read_end, self.write_end = os.pipe()
        os.set_blocking(self._read_end, False)
        self._most = most
        self._kept = bytearray()
        self._open = True
        asyncio.get_running_loop().add_reader(self._read_end, self._read)

    def started(self) -> None:
        """The child has its own copy of the other end now."""
        os.close(self.write_end)

    @property
    def text(self) -> str:
        """What has come, as text."""
        for _ in range(8):
            if not self._read():
                break
        return bytes(self._kept).decode("utf-8", "replace")

    def close(self) -> None:
        """Stop reading. Safe to call twice."""
        if self._open:
            self._open = False
            asyncio.get_running_loop().remove_reader(self._read_end)
            os.close(self._read_end)

    def _read(self) -> bool:
        if not self._open:
            return False
        try:
            data = os.read(self._read_end, 65_536)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self.close()
            return False
        self._kept += data
        del self._kept[: -self._most]
        return True
