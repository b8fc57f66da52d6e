"""This process's own environment, hidden from what it starts: a command can read what its parent was started with (`/proc/PID/environ`).

Two bolts, on Linux. The process is marked as not dumpable (prctl(2)), so that other processes of the same user can read neither its
environment nor its memory. Root reads them all the same; so the keys are overwritten where the system shows them. Python has its own
copy, from which the program goes on to read.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Collection

from agent.process.depth import VARIABLE, depth
from agent.text.secrets import SHORTEST

PR_SET_DUMPABLE = 4
_hidden = False


def without_keys(names: Collection[str], secrets: Collection[str]) -> dict[str, str]:
    """The environment of a command of the model's or the user's own: without the variables of these names, and without any other that has
    one of their values, or one of the secrets, in it. One deeper in `MOA_DEPTH`."""
    long = {secret for secret in secrets if len(secret) >= SHORTEST}
    named = {value for name in names if (value := os.environ.get(name))}
    hidden = long | {value for value in named if len(value) >= SHORTEST}
    # What this process was started with can be read by what it starts: hidden before the first command.
    hide(names, hidden)
    env = {
        name: value
        for name, value in os.environ.items()
        if name not in names and value not in named and not any(secret in value for secret in hidden)
    }
    env[VARIABLE] = str(depth(env) + 1)
    # Nobody is there to be asked, and nothing here can draw.
    return env | {"TERM": "dumb", "GIT_TERMINAL_PROMPT": "0"}


def hide(names: Collection[str], secrets: Collection[str]) -> None:
    """Do both, once: for the variables of these names, and for those in whose value one of these secrets is. No error where that can't
    be done."""
    global _hidden
    if _hidden or sys.platform != "linux":
        return
    _hidden = True
    import ctypes

    try:
        library = ctypes.CDLL(None)
        library.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
        entries = ctypes.POINTER(ctypes.c_void_p).in_dll(library, "environ")
    except (OSError, AttributeError, ValueError):
        return
    wanted, values = {name.encode() for name in names}, [value.encode() for value in secrets if len(value) >= 8]
    at = 0
    while entries and (address := entries[at]):
        entry = ctypes.string_at(address)
        name, _, value = entry.partition(b"=")
        if value and (name in wanted or any(secret in value for secret in values)):
            ctypes.memset(address + len(name) + 1, ord("*"), len(value))
        at += 1
