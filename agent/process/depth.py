"""How deep inside of panels this process is. One level only: a panel's member never convenes another panel.

Inside one process that holds by construction (a member has no plugins). Across processes the depth travels: to child processes in the
environment, to endpoints as a header, ours and the one that Fusion documents. A command can take a variable out of its environment
(`env -u MOA_DEPTH moa …`), but not its ancestors away: so an agent also marks itself, in the name that the kernel keeps of a process
(Linux), and who has one above it is inside of it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path

from agent.text.numbers import whole_number

VARIABLE = "MOA_DEPTH"
MARK = "moa-agent"
MOST_ANCESTORS = 200
HEADERS = ("x-moa-depth", "x-openrouter-fusion-depth")


def depth(env: Mapping[str, str] = os.environ) -> int:
    """The number of panels around this process; 0 for a user's own. A value that is not a number counts as one: the safe side."""
    text = env.get(VARIABLE, "").strip()
    if not text or text == "0":
        return int(inside_an_agent())
    level = whole_number(text)
    return 1 if level is None else level


def mark() -> None:
    """Name this process as one that starts commands for a model. For programs alone, never for a library's host."""
    with suppress(OSError):
        Path("/proc/self/comm").write_text(MARK)


@cache
def inside_an_agent() -> bool:
    """Whether a process above this one is an agent. Asked once: a parent that ends later was one all the same."""
    pid = os.getppid()
    for _ in range(MOST_ANCESTORS):
        if pid <= 1:
            return False
        try:
            if Path(f"/proc/{pid}/comm").read_text("utf-8", "replace").strip() == MARK:
                return True
            # The name, in brackets, may hold anything.
            pid = int(Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            return False
    return False


def headers(level: int) -> dict[str, str]:
    """What a call at this depth says of itself; nothing at depth 0."""
    return dict.fromkeys(HEADERS, str(level)) if level > 0 else {}
