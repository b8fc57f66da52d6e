"""The keyboard of line mode, which gives keys as keys also while no prompt reads them.

prompt_toolkit gives the terminal back to its line editing between two prompts, and whenever lines are printed above one. What is typed just
then is read by other rules: Enter is a new line, Ctrl+D an end that nobody sees, Ctrl+C a signal that ends the prompt. Here the terminal
keeps what is typed as it came, from the first prompt to the end.
"""

from __future__ import annotations

import termios
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar

from prompt_toolkit.input import Input, create_input
from prompt_toolkit.input.vt100 import Vt100Input, raw_mode

_printing = ContextVar("printing", default=False)


class Keyboard(Vt100Input):
    """The terminal's input. `hold` before the first prompt, `release` after the last one."""

    _held: _Held | None = None

    def hold(self) -> None:
        """Keep what is typed as it came; also after somebody else has changed the terminal."""
        self._held = self._held or _Held(self.fileno())
        self._held.__enter__()

    def release(self) -> None:
        """Leave the terminal as it was found; nothing where it is not held."""
        held, self._held = self._held, None
        if held is not None:
            held.__exit__()

    def cooked_mode(self) -> AbstractContextManager[None]:
        """The terminal's line editing for another program; nothing of it while we only print."""
        return nullcontext() if _printing.get() else super().cooked_mode()


class _Held(raw_mode):
    """No line editing and no echo. Ctrl+C stays a signal: there is no prompt that could read it."""

    @classmethod
    def _patch_lflag(cls, attrs: int) -> int:
        return attrs & ~(termios.ECHO | termios.ICANON | termios.IEXTEN)


@contextmanager
def printing() -> Iterator[None]:
    """What is begun within only prints."""
    token = _printing.set(True)
    try:
        yield
    finally:
        _printing.reset(token)


def keyboard(given: Input | None) -> Input:
    """The terminal's, where none is given; of another kind where standard input is no terminal of POSIX."""
    found = given or create_input()
    return Keyboard(found.stdin) if given is None and isinstance(found, Vt100Input) else found
