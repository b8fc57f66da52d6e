"""What a shell at a prompt gives the programs that it starts, whatever the tests themselves were started with."""

from __future__ import annotations

import fcntl
import signal
import termios

ENDING = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM)


def signals_are_ignored() -> bool:
    """Whether this process was started by `nohup` or in the background, so that its children would be deaf as well."""
    return any(signal.getsignal(each) is signal.SIG_IGN for each in ENDING)


def begin_as_at_a_prompt(*, terminal: bool = False) -> None:
    """For `preexec_fn`: signals as a shell at a prompt leaves them, whatever `nohup` or `&` made this process ignore.

    With `terminal`, standard input becomes the terminal that controls the process, so that Ctrl+C is a signal.
    """
    for each in ENDING:
        signal.signal(each, signal.SIG_DFL)
    if terminal:
        take_terminal()


def take_terminal() -> None:
    """Make standard input the terminal that controls this process, which leads its session."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
