"""Text files that the program takes in by itself (AGENTS.md, skills, commands): never a denied one, never one that a link leads to from
outside of where it belongs, never more than a bound."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from agent.files import text_file
from agent.files.deny_paths import BUILT_IN
from agent.files.in_use import in_use

if TYPE_CHECKING:
    from agent.files.deny_paths import DenyPaths


class Guarded(NamedTuple):
    """What was read, and what is wrong with it: why there is nothing, or that it was cut."""

    text: str
    problem: str = ""


def read(path: Path, *, limit: int, deny: DenyPaths | None = None, within: Path | None = None) -> Guarded | None:
    """A file's text, at most `limit` characters of it; None where there is no such file. Blocking.

    `deny` are the user's deny_paths. `within`: the file that a link leads to must lie in this folder (a project must not be able to
    put the user's other files before a model).
    """
    if not os.path.lexists(path):
        return None
    try:
        real = path.resolve(strict=True)
    except (OSError, RuntimeError):
        return Guarded("", "a link that leads nowhere")
    if deny is not None and (pattern := deny.match(path)):
        return Guarded(
            "",
            f"left out: denied by {'the program itself' if pattern.startswith(BUILT_IN) else 'deny_paths'} ({pattern.removeprefix(BUILT_IN)})",
        )
    if deny is not None and real != path and (why := deny.fence.why_private(real)):
        return Guarded("", f"left out: a link to {real.name}, and {why}")
    if within is not None and not real.is_relative_to(within.resolve()):
        return Guarded("", f"left out: a link to {real}, outside of {within}")
    if in_use(real):
        return Guarded("", "left out: a link to this program's own ledger")
    try:
        # Not blocking: a pipe of that name would wait for a writer for ever.
        descriptor = os.open(real, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return Guarded("", "left out: no regular file")
            data = file.read(4 * limit + 4)
    except OSError as error:
        return Guarded("", f"left out: {error.strerror or error}")
    text = text_file.decode(data, "replace").replace("\r\n", "\n")
    if "\0" in text:
        return Guarded("", "left out: no text (it has NUL characters in it)")
    if len(text) > limit:
        return Guarded(text[:limit], f"cut at {limit:,} characters")
    return Guarded(text, "not all of it is UTF-8: what could not be read is marked \ufffd" if "\ufffd" in text else "")
