"""Letting go of a terminal that is gone."""

from __future__ import annotations

import contextlib
import os
import select


def detach() -> None:
    """Lead standard output and error, where their terminal is gone, into nothing: there each write to it is an error."""
    gone = [descriptor for descriptor in (1, 2) if hung_up(descriptor)]
    if gone:
        nothing = os.open(os.devnull, os.O_WRONLY)
        for descriptor in gone:
            os.dup2(nothing, descriptor)
        os.close(nothing)


def hung_up(descriptor: int) -> bool:
    """Whether what stands at the other end is gone: a closed window, a dropped connection, a pipe that nobody reads."""
    with contextlib.suppress(OSError, AttributeError):  # not open at all; no poll on this system
        poll = select.poll()
        poll.register(descriptor, 0)
        return any(state & (select.POLLHUP | select.POLLERR) for _, state in poll.poll(0))
    return False
