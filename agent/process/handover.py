"""Handing the environment on to another process of this very program without it standing in that process's environment.

What a process was started with can be read for as long as it runs (`/proc/PID/environ`, `ps e`). So a tab's chat starts with the allow-list
of `agent.process.children`, and takes the rest, keys included, out of a file that has no name.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager

from agent.text import foreign_json

VARIABLE = "MOA_HANDOVER"
"""Names the descriptor of that file in the new process."""


@contextmanager
def offered(env: Mapping[str, str]) -> Iterator[int]:
    """A descriptor with these variables in it, to be passed to the new process; closed here behind it. Raises OSError."""
    data = json.dumps(dict(env)).encode()
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("moa", 0)
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        os.lseek(descriptor, 0, os.SEEK_SET)
        yield descriptor
    finally:
        os.close(descriptor)


def take(env: MutableMapping[str, str] = os.environ) -> None:
    """Add what was offered to this process, where anything was. What it was started with stays as it is, but for PATH: that of a child of
    ours is without the project's programs, and the commands of the model and the user are to find them."""
    number = env.pop(VARIABLE, "")
    if not number.isdecimal() or int(number) < 3:
        return
    try:
        with os.fdopen(int(number), "rb") as file:
            offer = foreign_json.loads(file.read())
    except (OSError, ValueError):
        return
    if isinstance(offer, dict):
        for name, value in offer.items():
            env.setdefault(str(name), str(value))
        env["PATH"] = str(offer.get("PATH", env.get("PATH", "")))
