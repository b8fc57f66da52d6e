"""Which process a reservation belongs to, and whether that process still lives.

A process number alone is not enough: it is used again, and in a container it means something else. An owner is therefore
`NUMBER.START@HOST/BOOT/NAMESPACE`. START is the process's start time in clock ticks since boot (proc(5), /proc/PID/stat, field 22).
Parts that a system does not have are empty.
"""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path

OUT_OF_SIGHT_S = 6 * 3600.0
"""Where an owner can't be looked at (another container, no /proc), it counts as dead after this many seconds: far longer than any
call may take."""


def this_process() -> str:
    """This process as an owner."""
    return f"{os.getpid()}.{_start(os.getpid()) or ''}@{_place()}"


def lives(owner: str, age_s: float) -> bool:
    """Whether the process is still there. `age_s`: how long ago it made the reservation, for where one can't look."""
    process, _, place = owner.partition("@")
    number, _, start = process.partition(".")
    here = _place()
    if place == here:
        if start:
            return _start(int(number)) == start
        return _is_used(int(number)) and age_s < OUT_OF_SIGHT_S
    host, boot, _ = place.rsplit("/", 2)
    my_host, my_boot, _ = here.rsplit("/", 2)
    if host == my_host and boot != my_boot:
        return False  # the machine was started anew
    return age_s < OUT_OF_SIGHT_S


def _place() -> str:
    return f"{_host()}/{_read('/proc/sys/kernel/random/boot_id')[:8]}/{_namespace()}"


def _host() -> str:
    return os.uname().nodename if hasattr(os, "uname") else platform.node()


def _namespace() -> str:
    try:
        return str(Path("/proc/self/ns/pid").readlink()).removeprefix("pid:")
    except OSError:
        return ""


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _start(number: int) -> str | None:
    """None where there is no such process any more (or it is a zombie), or no way to tell."""
    # The program's name, in brackets, may contain anything: count fields from the last bracket.
    fields = _read(f"/proc/{number}/stat").rpartition(")")[2].split()
    if len(fields) < 20 or fields[0] in "ZX":
        return None
    return fields[19]


def _is_used(number: int) -> bool:
    if sys.platform == "win32":  # there, os.kill ends the process whatever the signal
        return True
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
