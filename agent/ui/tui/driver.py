"""The terminal under the chat: Textual's driver for POSIX, made to outlast what happens to a terminal.

Textual's own blocks the event loop where the terminal takes nothing more, dies of one that is gone, and starts a second reader and a
second writer on every SIGCONT, from inside of a signal's handler. Here

- nothing waits for the terminal: a writer of our own takes what is drawn, and drops frames that a slow one can't take;
- a terminal that is gone is let go of, and the program ends in order;
- SIGTSTP and SIGCONT are handled by the event loop, in the order in which they come, and each is safe to be repeated.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import termios
import threading
import tty
from codecs import getincrementaldecoder
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from textual._parser import ParseError
from textual._xterm_parser import XTermParser
from textual.drivers.linux_driver import LinuxDriver

from agent.process.detach import detach

if TYPE_CHECKING:
    from agent.ui.tui.app import ChatApp

BACKLOG = 1_000_000
"""Bytes that may wait for a slow terminal, about fifty whole frames of a large one."""
PIECE = 2_048
"""Bytes of one write, so that a writer who waits for a stuck terminal can be told to give up."""
STOP_S = 1.0
"""Seconds that the last words to a terminal may take."""
ENTER = "\x1b[?1049h\x1b[?25l\x1b[?1004h\x1b[?2004h\x1b[?7l\x1b[=25;1u"
MOUSE = "\x1b[?1000h\x1b[?1003h\x1b[?1015h\x1b[?1006h"
LEAVE = (
    "\x1b[?1000l\x1b[?1003l\x1b[?1015l\x1b[?1006l\x1b[?2004l\x1b[?7h\x1b[?2048l\x1b[<u\x1b[?1049l\x1b[?25h\x1b[?1004l"
)


class Writer(threading.Thread):
    """Writes to a terminal, in order, without anybody waiting for it.

    `missed` is called (in this thread) when frames had to be dropped and the terminal is ready again, `lost` when it is gone.
    """

    def __init__(self, descriptor: int, *, missed: Callable[[], None], lost: Callable[[], None]) -> None:
        super().__init__(name="terminal output", daemon=True)
        self._descriptor = descriptor
        self._on_missed, self._on_lost = missed, lost
        self._changed = threading.Condition()
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._dropped = self._ending = self._gone = False

    def write(self, text: str) -> None:
        """Take a text to be written. What comes while too much waits already is dropped: a whole frame follows."""
        data = text.encode("utf-8", "replace")
        with self._changed:
            if self._gone or self._ending:
                return
            if self._dropped or self._size + len(data) > BACKLOG:
                self._dropped = True
                return
            self._waiting.append(data)
            self._size += len(data)
            self._changed.notify()

    def stop(self) -> None:
        """Write what waits, for a second at most, and end."""
        with self._changed:
            self._ending = True
            self._changed.notify()
        self.join(STOP_S)
        self.give_up()

    def give_up(self) -> None:
        """Write nothing more but the piece that is running; wait a moment for that one."""
        with self._changed:
            self._gone = True
            self._waiting.clear()
            self._changed.notify()
        self.join(STOP_S / 4)

    def run(self) -> None:
        """Until `stop`, or until the terminal is gone."""
        while True:
            with self._changed:
                missed = self._dropped and not self._waiting
                self._dropped = self._dropped and not missed
                if not missed:
                    self._changed.wait_for(lambda: self._waiting or self._ending or self._gone)
                    if not self._waiting:
                        return
                    data = self._waiting.popleft()
                    self._size -= len(data)
            if missed:
                self._on_missed()
                continue
            try:
                while data and not self._gone:
                    data = data[os.write(self._descriptor, data[:PIECE]) :]
            except BlockingIOError:  # somebody who shares the terminal has set it so
                select.select((), (self._descriptor,), ())
                with self._changed:
                    self._waiting.appendleft(data)
                    self._size += len(data)
            except OSError:
                with self._changed:
                    self._gone = True
                    self._waiting.clear()
                self._on_lost()
                return


class TerminalDriver(LinuxDriver):
    """Textual's driver with our own writer, reader and signals. `lost` says that the terminal is gone."""

    def __init__(self, app: ChatApp, **options: Any) -> None:
        super().__init__(app, **options)
        self.lost = False
        self._chat = app
        self._descriptor = 2 if self._file is None else self._file.fileno()
        self._out: Writer | None = None
        self._stopped = False
        self._loop.add_signal_handler(signal.SIGTSTP, self._stop)
        self._loop.add_signal_handler(signal.SIGCONT, self._continue)

    # Output

    def write(self, data: str) -> None:
        """Hand it to the writer; nothing where none is there (suspended, lost)."""
        if self._out is not None:
            self._out.write(data)

    def start_application_mode(self) -> None:
        """Take the terminal, where this process is in its foreground."""
        self._out = Writer(self._descriptor, missed=self._repaint_soon, lost=self._lose_soon)
        self._out.start()
        super().start_application_mode()  # type: ignore[no-untyped-call]
        if self._writer_thread is not None:  # Textual's own; nothing was written to it
            self._writer_thread.stop()
            self._writer_thread = None
        else:  # in the background, where it may not be taken
            self.close()

    def close(self) -> None:
        """Write what is left, and let go of the terminal."""
        if self._out is not None:
            self._out.stop()
            if self._out.is_alive():
                self.abandon()
            self._out = None

    def abandon(self) -> None:
        """From any thread, as the process is about to end: leave the terminal as it was found, without waiting for it."""
        with contextlib.suppress(OSError, ValueError, termios.error):
            if self.attrs_before is not None and not self._stopped:
                termios.tcsetattr(self.fileno, termios.TCSANOW, self.attrs_before)
            if not self._stopped:
                termios.tcflush(self._descriptor, termios.TCOFLUSH)  # what a stuck terminal has not taken
            if self._out is not None:
                self._out.give_up()  # its last piece is through now; nothing may come behind what follows
            if not self._stopped and select.select((), (self._descriptor,), (), 0.2)[1]:
                os.write(self._descriptor, LEAVE.encode())

    # What happens to the terminal

    def _repaint_soon(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._repaint)

    def _repaint(self) -> None:
        if self._app.is_running and self._app.screen_stack:
            self._app.refresh(layout=True)

    def _lose_soon(self) -> None:
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._lose)

    def _lose(self) -> None:
        """The terminal is gone: nothing goes there any more, and the conversation is ended in order."""
        if not self.lost:
            self.lost = True
            self.exit_event.set()
            detach()
        self._chat.leave_in_order()

    def _stop(self) -> None:
        """SIGTSTP: give the terminal back, then stop."""
        if self._auto_restart and not self._stopped and not self.lost:
            self.suspend_application_mode()
            self._stopped = self._must_signal_resume = True
        os.kill(os.getpid(), signal.SIGSTOP)

    def _continue(self) -> None:
        """SIGCONT: take the terminal again where we gave it back; else somebody may have changed it (SIGSTOP can't be heard)."""
        if self.lost or self._chat.leaving or not self._auto_restart:
            return
        if not self._in_foreground():
            return  # somebody brings us there, and then this is called again
        if self._stopped:
            self.resume_application_mode()
            self._stopped = False
        else:
            self.write(ENTER + (MOUSE if self._mouse else ""))
        self._repaint()

    def _in_foreground(self) -> bool:
        """Set the modes that are wanted. In the background the kernel stops us at that, until we may; whoever looks first comes too late."""
        try:
            found = termios.tcgetattr(self.fileno)
            wanted = found if self._stopped or self.attrs_before is None else self._raw(self.attrs_before)
            termios.tcsetattr(self.fileno, termios.TCSANOW, wanted)
        except termios.error as error:
            if error.args[0] != errno.EINTR:
                self._lose()
            return False
        return True

    def _raw(self, attributes: list[Any]) -> list[Any]:
        raw = [*attributes[: tty.CC], list(attributes[tty.CC])]
        raw[tty.LFLAG] = self._patch_lflag(raw[tty.LFLAG])
        raw[tty.IFLAG] = self._patch_iflag(raw[tty.IFLAG])
        raw[tty.CC][termios.VMIN] = 1
        return raw

    # Input

    def run_input_thread(self) -> None:
        """Read keys until there are no more: the driver is stopped, or the terminal is gone."""
        parser = XTermParser(self._debug)
        decode = getincrementaldecoder("utf-8")("replace").decode
        try:
            while not self.exit_event.is_set():
                ready, _, _ = select.select((self.fileno,), (), (), 0.1)
                if ready:
                    data = os.read(self.fileno, 4096)
                    if not data:  # what a read from a terminal gives that was hung up
                        self._lose_soon()
                        return
                    for event in parser.feed(decode(data)):
                        self.process_message(event)
                for event in parser.tick():
                    self.process_message(event)
        except (OSError, ValueError):
            self._lose_soon()
        finally:
            with contextlib.suppress(EOFError, ParseError):
                for _event in parser.feed(""):
                    pass
