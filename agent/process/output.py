"""A command's output: its head and its tail in memory, the whole in a file, and neither able to harm a terminal."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import IO

from agent.files.own_files import make_folder

HEAD = 8_000
TAIL = 8_000
"""Bytes kept for the model. Both ends, since a build fails at its end and explains itself at its beginning."""
MAX_FILE = 64 * 1024 * 1024
"""Bytes of output that are kept in the file, so that a runaway command can't fill the disk."""


class Output:
    """Takes bytes as they come. The file is made once the output outgrows memory, or at once with `log`."""

    def __init__(self, file: Path, *, log: bool = False) -> None:
        self.path = file
        self.total = 0
        self._head = bytearray()
        self._tail = bytearray()
        self._log = log
        self._file: IO[bytes] | None = None
        self._failed = ""
        if log:
            self._open()

    @property
    def in_file(self) -> bool:
        """Whether there is a file to look at."""
        return (self._file is not None or self._log) and not self._failed

    def feed(self, data: bytes) -> None:
        """The next piece."""
        if self._file is None and not self._failed and not self._log and self.total + len(data) > HEAD + TAIL:
            self._open()
            self._write(bytes(self._head + self._tail), 0)
        if self._file is not None:
            self._write(data, self.total)
        self.total += len(data)
        room = HEAD - len(self._head)
        self._head += data[:room]
        self._tail += data[room:]
        if len(self._tail) > 4 * TAIL:
            del self._tail[:-TAIL]

    def keep(self) -> None:
        """From now on a log: what has come so far goes into the file, too."""
        if self._file is None and not self._failed:
            self._open()
            self._write(bytes(self._head + self._tail), 0)
        self._log = True

    def render(self) -> str:
        """Head and tail for the model, with what was left out between them."""
        kept = bytes(self._tail[-TAIL:])
        omitted = self.total - len(self._head) - len(kept)
        if b"\0" in self._head:
            return f"(binary output, {self.total:,} bytes{self._where()})"
        if omitted <= 0:
            return harmless((self._head + kept).decode("utf-8", "replace"))
        # Cut at line ends where there is one near, so that neither half begins or ends in the middle of a word.
        head = bytes(self._head)
        if (end := head.rfind(b"\n")) > HEAD // 2:
            omitted, head = omitted + len(head) - end - 1, head[: end + 1]
        if 0 <= (start := kept.find(b"\n")) < TAIL // 2:
            omitted, kept = omitted + start + 1, kept[start + 1 :]
        first, last = head.decode("utf-8", "replace"), kept.decode("utf-8", "replace")
        return f"{harmless(first).rstrip()}\n\n… {omitted:,} bytes left out{self._where()} …\n\n{harmless(last)}"

    def tail(self, size: int) -> str:
        """The last bytes as text."""
        return harmless(bytes((self._head + self._tail)[-size:]).decode("utf-8", "replace"))

    def close(self) -> None:
        """No more is to come."""
        if self._file is not None:
            self._file.close()

    def _where(self) -> str:
        if self._failed:
            return f"; the whole could not be kept: {self._failed}"
        if not self.in_file:
            return ""
        return f"; {'the first 64 MB' if self.total > MAX_FILE else 'the whole'} in {self.path}"

    def _open(self) -> None:
        try:
            # The user's alone: a command's output may hold whatever the user can read.
            make_folder(self.path.parent.parent)
            self.path.parent.mkdir(exist_ok=True, mode=0o700)
            self._file = os.fdopen(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb", buffering=0)
        except OSError as error:
            self._failed = error.strerror or str(error)

    def _write(self, data: bytes, before: int) -> None:
        if self._file is None or before >= MAX_FILE or self._file.closed:
            return
        try:
            self._file.write(data[: MAX_FILE - before])
        except OSError as error:  # a full disk must not end the command
            self._failed = error.strerror or str(error)


def harmless(text: str) -> str:
    """Terminal output as plain text: no escape sequences, no other control characters, of an overwritten line what was left standing."""
    if text.isprintable():
        return text
    text = re.sub(
        # What has no end takes no more than its line along: else a file's name could hide all that stands behind it.
        r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b\n]*(?:\x07|\x1b\\)?|[PX^_](?:[^\x1b]*\x1b\\|[^\x1b\n]*)|[ -/]*[0-~])",
        "",
        text,
    )
    text = text.replace("\r\n", "\n")
    if "\x08" in text:
        kept: list[str] = []
        for character in text:
            if character != "\x08":
                kept.append(character)
            elif kept and kept[-1] != "\n":
                kept.pop()
        text = "".join(kept)
    if "\r" in text:
        text = "\n".join(line.rstrip("\r").rsplit("\r", 1)[-1] for line in text.split("\n"))
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", "\ufffd", text)
