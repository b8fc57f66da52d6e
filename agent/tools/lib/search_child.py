"""The search that `grep` runs where there is no ripgrep: a program of its own, because only a process can be stopped inside an expression.

Arguments: the expression, the most characters of a line to show. Standard input: file names, each ended by a NUL, from the working
folder. Output: per matching line the name, a NUL, `NUMBER:TEXT`. Imports nothing of the project, since it runs isolated.
"""

from __future__ import annotations

import codecs
import io
import os
import re
import stat
import sys
from collections.abc import Callable, Iterator
from typing import IO

LONGEST = 64 << 20
"""Bytes of a line that are searched. Of a longer one the rest is not, and that is said."""
MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
"""Byte order marks: with one of them a file with NUL bytes is text, as it is for ripgrep."""


def main() -> int:
    """Search; 0 whether or not anything was found, 2 for an expression that is none."""
    sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape", newline="\n")  # type: ignore[union-attr]
    try:
        search = re.compile(sys.argv[1]).search
    except (re.error, OverflowError, RecursionError) as error:
        sys.stdout.write(f"{error}\n")
        return 2
    width = int(sys.argv[2])
    for name in sys.stdin.buffer.read().split(b"\0"):
        if name:
            search_file(name, search, width)
    sys.stdout.flush()
    return 0


def search_file(name: bytes, search: Callable[[str], re.Match[str] | None], width: int) -> None:
    """Print the matching lines of one file; nothing for what is no regular text file."""
    try:
        if not stat.S_ISREG(os.lstat(name).st_mode):
            return
        with os.fdopen(os.open(name, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            head = file.peek(8192)[:8192]
            encoding, mark = next(((name, len(mark)) for mark, name in MARKS if head.startswith(mark)), ("utf-8", 0))
            if b"\0" in head and encoding == "utf-8":
                return
            file.seek(mark)
            search_lines(os.fsdecode(name), lines_of(file, encoding), search, width)
    except OSError:
        return


def search_lines(name: str, lines: Iterator[str], search: Callable[[str], re.Match[str] | None], width: int) -> None:
    """Print those that match, and say where a line was too long to be searched whole."""
    for number, line in enumerate(lines, 1):
        if found := search(line):
            print_line(name, number, line, found.start(), width)
        elif len(line) >= LONGEST:
            print_line(name, number, f"(only the first {LONGEST >> 20} MiB of this line were searched)", 0, width)


def lines_of(file: IO[bytes], encoding: str) -> Iterator[str]:
    """The lines of an open file without their ends, each cut at `LONGEST`."""
    if encoding == "utf-8":
        while raw := file.readline(LONGEST):
            yield raw.rstrip(b"\r\n").decode("utf-8", "replace")
            while len(raw) == LONGEST and not raw.endswith(b"\n"):  # the rest of a line without end
                raw = file.readline(LONGEST)
        return
    text = io.TextIOWrapper(file, encoding, "replace", newline="\n")
    while line := text.readline(LONGEST):
        yield line.rstrip("\r\n")
        while len(line) == LONGEST and not line.endswith("\n"):
            line = text.readline(LONGEST)


def print_line(name: str, number: int, line: str, at: int, width: int) -> None:
    """One match; of a long line the part around it."""
    start = max(0, at - width // 3) if len(line) > width else 0
    text = ("…" if start else "") + line[start : start + width] + ("…" if start + width < len(line) else "")
    sys.stdout.write(f"{name}\0{number}:{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
