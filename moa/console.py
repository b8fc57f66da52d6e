"""Standard input, output and error of the `moa` command: UTF-8 whatever the locale says, and given up in order when they break."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # as typing's, whose import takes long enough for a Ctrl+C to fall into it
if TYPE_CHECKING:
    from typing import TextIO


def prepare() -> None:
    """Make all three UTF-8. What has no UTF-8 form (half a character) is written as an escape, which is JSON's own spelling of it."""
    for stream, errors in ((sys.stdin, "replace"), (sys.stdout, "backslashreplace"), (sys.stderr, "backslashreplace")):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(encoding="utf-8", errors=errors)
    if sys.stdout is None:  # closed by whoever started us (`>&-`): nobody listens
        sys.stdout = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8")


def read_prompt(word: str) -> str:
    """What the command line gives as the prompt; `-` stands for all of standard input."""
    return sys.stdin.read() if word == "-" else word


def output_lost(error: OSError) -> bool:
    """True where an error means that standard output can't be written any more."""
    if isinstance(error, BrokenPipeError):
        return True
    try:
        sys.stdout.flush()  # what could not be written is still there, and fails again
    except OSError:
        return True
    return False


def give_up(error: OSError) -> int:
    """Say in one line that standard output is lost, and let go of it. Returns the exit code."""
    from contextlib import suppress

    with suppress(OSError):
        print(f"moa: standard output can't be written: {error.strerror or error}", file=sys.stderr, flush=True)
    _let_go(sys.stdout)
    return 1


def finish() -> None:
    """Write out what is left. Raises OSError where standard output can't take it; standard error is only let go of."""
    sys.stdout.flush()
    try:
        if sys.stderr is not None:
            sys.stderr.flush()
    except OSError:
        _let_go(sys.stderr)


def _let_go(stream: TextIO) -> None:
    # Python writes out what is left at its end: into nothing, so that it neither complains a second time nor changes the exit code.
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, stream.fileno())
    os.close(nothing)


_held: list[int] = []


def hold() -> None:
    """Keep a Ctrl+C until `hear`: one that cuts an import short leaves modules behind that can't be imported again."""
    import signal

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, lambda signum, _frame: _held.append(signum))


def hear() -> None:
    """Hear Ctrl+C again. Raises KeyboardInterrupt where there was one meanwhile."""
    import signal

    signal.signal(signal.SIGINT, signal.default_int_handler)
    if _held:
        _held.clear()
        raise KeyboardInterrupt


def deaf() -> None:
    """Hear no further Ctrl+C: what ends the program has been decided, and is said once."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)
