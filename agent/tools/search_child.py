"""The search that `grep` runs where there is no ripgrep: a program of its own, because only a process can be stopped inside an expression.

Arguments: the expression, the most characters of a line to show. Standard input: file names, each ended by a NUL, from the working
folder. Output: per matching line the name, a NUL, `NUMBER:TEXT`. Imports nothing of the project, since it runs isolated.
"""

from __future__ import annotations

import os
import re
import stat
import sys
from collections.abc import Callable

PIECE = 1 << 20


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
            if b"\0" in file.peek(8192)[:8192]:
                return
            number = 0
            while raw := file.readline(PIECE):
                number += 1
                line = raw.rstrip(b"\r\n").decode("utf-8", "replace")
                if found := search(line):
                    print_line(os.fsdecode(name), number, line, found.start(), width)
                while len(raw) == PIECE and not raw.endswith(b"\n"):  # the rest of a line without end
                    raw = file.readline(PIECE)
    except OSError:
        return


def print_line(name: str, number: int, line: str, at: int, width: int) -> None:
    """One match; of a long line the part around it."""
    start = max(0, at - width // 3) if len(line) > width else 0
    text = ("…" if start else "") + line[start : start + width] + ("…" if start + width < len(line) else "")
    sys.stdout.write(f"{name}\0{number}:{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
