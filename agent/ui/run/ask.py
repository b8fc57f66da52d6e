"""Asking for approval on the controlling terminal, for runs without a face."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import time
from collections.abc import Iterator

from agent.approval.approval import ApprovalRequest, UserAnswer
from agent.approval.question import reason
from agent.text.cleaning import harmless, visible
from agent.ui.asking import SILENCE_S, allowed, folded, framed, heading, in_full, read_answer, too_long

DEVICE = "/dev/tty"


def can_ask() -> bool:
    """Whether there is a controlling terminal, and this run is the one that its keys go to."""
    try:
        with _opened() as terminal:
            return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False


class TerminalApprover:
    """Asks on /dev/tty, so that standard input and output stay free for the prompt and the answer."""

    async def ask(self, request: ApprovalRequest) -> UserAnswer:
        """Show the call (and a file's change as a diff), and read the answer. Cancelled with the turn, at any moment."""
        question, again = question_text(request, _columns()), "1, 2, 3 or 4; with a 4 you can say why: 4 because …"
        if too_long(request):
            again = f"not all of it is shown, so only a number answers: {again}"
        answer: UserAnswer | None = None
        while answer is None:
            line = await _converse(question)
            if line is None:
                return UserAnswer("no", "nobody answers on the terminal")
            answer = read_answer(line, request)
            question = f"{again}\n"
        return answer


def _columns() -> int:
    try:
        with _opened() as terminal:
            return max(20, os.get_terminal_size(terminal).columns) - 1
    except OSError:
        return 79


def question_text(request: ApprovalRequest, columns: int) -> str:
    """All that is asked, for a terminal of so many columns."""
    below = in_full(request)
    title = heading(request) if below else visible(request.title)
    lines = ["", framed(f"Allow this? {title}", columns), *(folded(line, columns) for line in below)]
    lines += (framed(why, columns) for why in filter(None, [reason(request)]))
    lines.append(framed(f"2 and 3 allow: {allowed(request)}", columns))
    lines.append("1 once · 2 for this session · 3 always · 4 no (4 because …)")
    return harmless("\n".join(lines)) + "\n"


async def _converse(question: str) -> str | None:
    """Ask, and read a line; None where there is no terminal. In a thread that a cancellation ends: not every event loop can watch one."""
    stop, stopped = os.pipe()
    work = asyncio.ensure_future(asyncio.to_thread(_in_thread, question, stop))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        os.write(stopped, b"x")
        await asyncio.wait([work])
        raise
    finally:
        os.close(stopped)
        os.close(stop)


def _in_thread(question: str, stop: int) -> str | None:
    try:
        with _opened() as terminal:
            with _unechoed(terminal) as typing:
                _write(terminal, question)
                early = _early(terminal, stop, typing=typing)
            if early is not None:
                _write(terminal, f"> {early}\n")
                return early
            _write(terminal, "> ")
            return _line(terminal, stop)
    except OSError:
        return None


def _write(terminal: int, text: str) -> None:
    data = memoryview(text.encode())
    while data:
        data = data[os.write(terminal, data) :]


@contextlib.contextmanager
def _opened() -> Iterator[int]:
    terminal = os.open(DEVICE, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        yield terminal
    finally:
        os.close(terminal)


@contextlib.contextmanager
def _unechoed(terminal: int) -> Iterator[bool]:
    """Each key comes at once and unshown; what was typed before is forgotten. Set before the question is shown, so that no answer is.

    Yields whether anything was typed before.
    """
    import select
    import termios
    import tty

    before = termios.tcgetattr(terminal)
    tty.setcbreak(terminal, termios.TCSADRAIN)
    try:
        typing = False
        while select.select([terminal], [], [], 0)[0] and os.read(terminal, 4096):
            typing = True
        yield typing
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)


def _early(terminal: int, stop: int, *, typing: bool) -> str | None:
    """Wait until nobody has typed for a while; None then. Until that time a number by itself is an answer, where nobody was `typing` when
    the question came (it may be the rest of something else), and nothing else is.

    Raises OSError where it was stopped, or the terminal is gone.
    """
    typed, until = b"", time.monotonic() + SILENCE_S
    while (left := until - time.monotonic()) > 0:
        ready = _ready(terminal, stop, left)
        if ready == stop or (ready == terminal and not (more := os.read(terminal, 4096))):
            raise OSError("stopped")
        if ready == terminal:
            typed += more
            until = time.monotonic() + SILENCE_S
            if not typing and (found := re.fullmatch(rb"([1-4])[\r\n]", typed)):
                return found[1].decode()
    return None


def _line(terminal: int, stop: int) -> str | None:
    """A line as it is entered; None where it was stopped, or the terminal is gone."""
    data = b""
    while not data.endswith(b"\n"):
        if _ready(terminal, stop, None) == stop or not (more := os.read(terminal, 4096)):
            return None
        data += more
    return data.decode("utf-8", "replace")


def _ready(terminal: int, stop: int, timeout_s: float | None) -> int | None:
    import select

    ready, _, _ = select.select([terminal, stop], [], [], timeout_s)
    return stop if stop in ready else terminal if terminal in ready else None
