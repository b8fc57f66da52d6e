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


PIPE_S = 3.0
"""So long a pipe beside a prompt is waited for: whoever starts us may have left one open that never says a thing."""


def read_prompt(word: str) -> tuple[str, str | None]:
    """The prompt as the command line gives it, and what is piped in beside it (None: a pipe that said nothing in time).

    `-`, or no prompt at all, stands for all of standard input.
    """
    if word in ("", "-"):
        return "", "" if sys.stdin is None or (not word and sys.stdin.isatty()) else sys.stdin.read()
    if not _is_piped():
        return word, ""
    import select

    ready, _, _ = select.select([sys.stdin], [], [], PIPE_S)
    return word, sys.stdin.read() if ready else None


def _is_piped() -> bool:
    """Whether somebody has given standard input: a pipe, a socket or a file; no terminal, no /dev/null."""
    import stat

    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode
    except (AttributeError, OSError, ValueError):
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or stat.S_ISREG(mode)


def output_lost(error: Exception) -> bool:
    """True where an error means that standard output can't be written any more, or that the terminal is gone."""
    if isinstance(error, BrokenPipeError):
        return True
    if not isinstance(error, OSError) and type(error).__module__ != "termios":
        return False
    from agent.process.detach import hung_up

    if any(map(hung_up, (0, 1, 2))):
        return True
    try:
        sys.stdout.flush()  # what could not be written is still there, and fails again
    except OSError:
        return True
    return False


def give_up(error: Exception) -> int:
    """Say in one line that standard output is lost, and let go of it. Returns the exit code."""
    from contextlib import suppress

    why = getattr(error, "strerror", None) or error
    with suppress(OSError):
        print(f"moa: standard output can't be written: {why}", file=sys.stderr, flush=True)
    let_go(sys.stdout)
    with suppress(OSError):
        sys.stderr.flush()
        return 1
    let_go(sys.stderr)  # the same terminal
    return 1


def finish() -> None:
    """Write out what is left. Raises OSError where standard output can't take it; standard error is only let go of."""
    sys.stdout.flush()
    try:
        if sys.stderr is not None:
            sys.stderr.flush()
    except OSError:
        let_go(sys.stderr)


def let_go(stream: TextIO) -> None:
    """Close a standard stream to whoever reads it."""
    # Python writes out what is left at its end: into nothing, so that it neither complains a second time nor changes the exit code.
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, stream.fileno())
    os.close(nothing)


_held: list[int] = []


def hold() -> None:
    """Keep what asks the program to end until `hear`: one that cuts an import short leaves modules behind that can't be imported again."""
    import signal

    def keep(number: int, _frame: object) -> None:
        _held.append(number)

    # As `agent.process.deadline.heard` has them, without importing it: one could fall into that.
    for name in ("SIGINT", "SIGTERM", "SIGQUIT", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and not (name == "SIGHUP" and signal.getsignal(number) is signal.SIG_IGN):
            signal.signal(number, keep)


def hear() -> None:
    """Hear it again. Raises KeyboardInterrupt where there was one meanwhile, and from now on whenever one comes."""
    import signal

    from agent.process.deadline import heard

    for number in heard():
        signal.signal(number, signal.default_int_handler)
    if held():
        raise KeyboardInterrupt


def held() -> bool:
    """Whether something has come since `hold`; it counts as heard then."""
    came = bool(_held)
    _held.clear()
    return came


def deaf() -> None:
    """Hear nothing further: what ends the program has been decided, and is said once."""
    import signal

    from agent.process.deadline import ENDING

    # One that came just before is told of by Python itself, as a race; it is none: what ends the program has been decided.
    told = sys.unraisablehook
    sys.unraisablehook = lambda what: None if "ignored due to race" in str(what.exc_value) else told(what)
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)
