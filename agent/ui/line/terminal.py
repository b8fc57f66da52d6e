"""Where lines are entered and printed: a terminal that can move its cursor (prompt_toolkit), and one that can't."""

from __future__ import annotations

import asyncio
import codecs
import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Protocol, TextIO

from prompt_toolkit.application.run_in_terminal import in_terminal, run_in_terminal
from prompt_toolkit.history import History as PromptHistory
from prompt_toolkit.shortcuts import PromptSession
from prompt_toolkit.styles import Style

from agent.text.cleaning import harmless
from agent.ui.asking import SILENCE_S
from agent.ui.columns import width
from agent.ui.line.keyboard import Keyboard, keyboard, printing
from agent.ui.line.keys import bindings
from agent.ui.mentions import smuggled, without

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from prompt_toolkit.buffer import Buffer
    from prompt_toolkit.completion import Completer
    from prompt_toolkit.input import Input
    from prompt_toolkit.output import Output

    from agent.ui.history import History
    from agent.ui.line.keys import Verbs

STYLE = Style.from_dict({"bottom-toolbar": "noreverse italic", "prompt": "bold"})


class Terminal(Protocol):
    """What line mode needs of a terminal. `toolbar`: it has a line at the bottom that is kept up to date."""

    toolbar: bool

    def columns(self) -> int:
        """Its width."""
        ...

    async def read(self) -> str | None:
        """The next line that is entered; None where the user wants to leave."""
        ...

    def out(self, text: str) -> None:
        """Print lines above what is being typed. The text may hold our own colours, nothing else that steers."""
        ...

    def raw(self, sequence: str) -> None:
        """Send something that prints nothing: a bell, a clipboard sequence."""
        ...

    def give_back(self, text: str) -> None:
        """Text that was entered and could not be used comes back to be changed."""
        ...

    def typed(self, line: str) -> bool:
        """Whether the line that was entered last was typed, and nothing of it pasted."""
        ...

    def by_hand(self, line: str) -> str:
        """The line that was entered last, without the images that something pasted into it mentions."""
        ...

    def hide(self, hidden: bool) -> None:
        """What is typed is a secret, or is one no more."""
        ...

    def set_aside(self) -> bool:
        """A question comes: what is being typed waits until `resume`. Whether somebody is typing, or was a moment ago."""
        ...

    def resume(self) -> None:
        """What was set aside is there again."""
        ...

    def refresh(self) -> None:
        """The line at the bottom may have changed."""
        ...

    def close(self) -> None:
        """`read` returns None."""
        ...

    def flush(self) -> None:
        """Print what waits, once nothing is being typed any more."""
        ...

    def take_again(self) -> None:
        """The program goes on after it was stopped: others may have written meanwhile, and set other modes."""
        ...

    async def lend(self, work: Callable[[], Awaitable[bool]]) -> bool:
        """Let go of the terminal while something else has it."""
        ...


class PromptTerminal:
    """Prompt and toolbar by prompt_toolkit. Printed lines go above both, into the terminal's own scrollback."""

    toolbar = True

    def __init__(
        self,
        verbs: Verbs,
        *,
        prompt: Callable[[], str],
        toolbar: Callable[[], str],
        completer: Completer | None = None,
        history: PromptHistory | None = None,
        input: Input | None = None,
        output: Output | None = None,
    ) -> None:
        self._bottom_line = toolbar
        self._shown = ""
        self._next = ""
        self._aside = ""
        self._lines: list[str] = []
        self._closed = False
        self._put = False
        """Some of what stands in the prompt was pasted or put there."""
        self._keyed: str | None = None
        self._smuggled: list[str] = []
        self._verbs = verbs
        self._changed_at = -SILENCE_S
        self._session: PromptSession[str] = PromptSession(
            message=lambda: [("class:prompt", prompt())],
            bottom_toolbar=self._bottom,
            completer=completer,
            complete_in_thread=True,
            history=history,
            key_bindings=bindings(verbs, pasted=self._pasted),
            multiline=True,
            enable_open_in_editor=True,
            reserve_space_for_menu=6,
            style=STYLE,
            input=keyboard(input),
            output=output,
        )
        self._session.default_buffer.on_text_changed += self._changed
        # The escape key alone does something here: whoever presses it does not want to wait a second.
        self._session.app.timeoutlen = 0.3
        self._session.app.ttimeoutlen = 0.05

    async def read(self) -> str | None:
        """The next line; None after Ctrl+D, or `close`."""
        text, self._next = self._next, ""
        self._put = bool(text)
        if not text:
            self._smuggled.clear()
        if isinstance(keys := self._session.app.input, Keyboard):
            keys.hold()
        try:
            line = await self._session.prompt_async(
                default=text,
                handle_sigint=False,  # it loses one that comes as a prompt ends; ours hears all
                pre_run=lambda: self.close() if self._closed else None,
            )
        except EOFError:
            return None
        self._keyed = None if self._put else line
        if not self._verbs.busy:  # who has sent what the turn begins with waits for it
            self._changed_at = -SILENCE_S
        return line

    def out(self, text: str) -> None:
        """Print lines above the prompt, a moment later: each time the prompt is drawn anew."""
        self._lines.append(text)
        if len(self._lines) == 1:  # what comes in one go is printed in one go: each time the prompt is drawn anew
            asyncio.get_running_loop().call_later(0.03, self._print)

    def flush(self) -> None:
        """Print what waits and give the terminal back, once nothing is being typed any more."""
        lines, self._lines = self._lines, []
        if lines:
            self._write("\n".join(lines) + "\n")
        if isinstance(keys := self._session.app.input, Keyboard):
            keys.release()

    def raw(self, sequence: str) -> None:
        """Send a sequence that prints nothing."""
        self._session.app.output.write_raw(sequence)
        self._session.app.output.flush()

    def give_back(self, text: str) -> None:
        """Put text into the prompt, before what stands there."""
        buffer = self._session.default_buffer
        if not self._session.app.is_running:
            self._next = "\n".join(filter(None, (self._next, text)))
            return
        self._put = True
        buffer.text = "\n".join(filter(None, (text, buffer.text)))
        buffer.cursor_position = len(buffer.text)

    def typed(self, line: str) -> bool:
        """Whether the line that was entered last was typed, and nothing of it pasted or recalled."""
        return self._keyed == line

    def by_hand(self, line: str) -> str:
        """The line that was entered last, without the images that something pasted into it mentions."""
        return without(line, self._smuggled)

    def _pasted(self, text: str) -> None:
        self._put = True
        self._smuggled += smuggled(text)

    def _changed(self, buffer: Buffer) -> None:
        self._put = self._put and bool(buffer.text)
        self._changed_at = time.monotonic()

    def hide(self, hidden: bool) -> None:
        """Stars in the place of what is typed."""
        self._session.is_password = hidden
        self._session.app.invalidate()

    def set_aside(self) -> bool:
        """Empty the prompt for an answer."""
        buffer = self._session.default_buffer
        text = buffer.text if self._session.app.is_running else self._next
        self._aside = "\n".join(filter(None, (self._aside, text)))  # a second time where something else asks meanwhile
        self._next = ""
        buffer.reset()
        return bool(self._aside) or time.monotonic() - self._changed_at < SILENCE_S

    def resume(self) -> None:
        """Put back what was set aside."""
        text, self._aside = self._aside, ""
        if text:
            self.give_back(text)

    def refresh(self) -> None:
        """Draw the line at the bottom anew where it says something else by now."""
        if self._session.app.is_running and self._bottom_line() != self._shown:
            self._session.app.invalidate()

    def close(self) -> None:
        """Leave the prompt, the present one or the next."""
        self._closed = True
        if self._session.app.is_running and not self._session.app.is_done:
            self._session.app.exit(exception=EOFError())

    def take_again(self) -> None:
        """Draw the prompt anew, in the modes that it needs."""
        app = self._session.app
        if app.is_running and os.isatty(fd := app.input.fileno()) and os.tcgetpgrp(fd) == os.getpgrp():
            app.input.raw_mode().__enter__()  # never left: what was found is kept by the one before
            app.renderer.reset()
            app.invalidate()

    async def lend(self, work: Callable[[], Awaitable[bool]]) -> bool:
        """Let go of the terminal while something else has it; the prompt is drawn anew after that."""
        async with in_terminal():
            return await work()

    def columns(self) -> int:
        """The width as it is now."""
        return self._session.app.output.get_size().columns

    def _bottom(self) -> str:
        self._shown = self._bottom_line()
        return cut(self._shown, self.columns() - 1)

    def _print(self) -> None:
        lines, self._lines = self._lines, []
        if not lines:
            return
        text = "\n".join(lines) + "\n"
        if self._session.app.is_running:
            with printing():
                run_in_terminal(lambda: self._write(text))
        else:
            self._write(text)

    def _write(self, text: str) -> None:
        output = self._session.app.output
        output.enable_autowrap()
        output.write_raw(text)
        output.flush()


class DumbTerminal:
    """Lines in, lines out: the terminal (or Emacs, or a screen reader) does all editing itself, and nothing is ever drawn twice."""

    toolbar = False

    def __init__(self, *, prompt: Callable[[], str], source: int | None = None, out: TextIO | None = None) -> None:
        self._prompt = prompt
        self._source = sys.stdin.fileno() if source is None else source
        self._out = out or sys.stdout
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._rest = ""
        self._entered: asyncio.Queue[str | None] = asyncio.Queue()
        self._listening = False
        self._closed = False

    async def read(self) -> str | None:
        """The next line; None after Ctrl+D, or `close`."""
        if not self._listening:
            self._listening = True
            asyncio.get_running_loop().add_reader(self._source, self._readable)
        if self._entered.empty():
            if self._closed:  # whoever asks once more is told once more
                return None
            self._out.write(self._prompt())
            self._out.flush()
        return await self._entered.get()

    def columns(self) -> int:
        """A guess: such a terminal does not tell."""
        return 80

    def out(self, text: str) -> None:
        """Print at once."""
        print(text, file=self._out, flush=True)

    def flush(self) -> None:
        """Everything is printed already."""

    def raw(self, sequence: str) -> None:
        """Nothing: such a terminal would print it."""

    def give_back(self, text: str) -> None:
        """Say what was not sent: it can't be put where it was typed."""
        self.out(f"not sent: {harmless(text)}")

    def typed(self, line: str) -> bool:
        """False: a paste looks like typing here, and must not be asked about."""
        return False

    def by_hand(self, line: str) -> str:
        """All of it: a paste looks like typing here."""
        return line

    def hide(self, hidden: bool) -> None:
        """The terminal echoes nothing meanwhile."""
        if os.isatty(self._source):
            import termios

            mode = termios.tcgetattr(self._source)
            mode[3] = mode[3] & ~termios.ECHO if hidden else mode[3] | termios.ECHO
            termios.tcsetattr(self._source, termios.TCSADRAIN, mode)

    def set_aside(self) -> bool:
        """Nothing: what is being typed is not known here, only what was entered and waits."""
        return not self._entered.empty()

    def resume(self) -> None:
        """Nothing either."""

    def refresh(self) -> None:
        """There is no line at the bottom."""

    def take_again(self) -> None:
        """Nothing is set here, and nothing drawn."""

    async def lend(self, work: Callable[[], Awaitable[bool]]) -> bool:
        """Read nothing while something else has the terminal."""
        loop = asyncio.get_running_loop()
        reading = self._listening and loop.remove_reader(self._source)
        try:
            return await work()
        finally:
            if reading:
                loop.add_reader(self._source, self._readable)

    def close(self) -> None:
        """Leave the prompt."""
        self._closed = True
        self._entered.put_nowait(None)

    def _readable(self) -> None:
        try:
            data = os.read(self._source, 65536)
        except OSError:
            data = b""
        if not data:  # Ctrl+D, or the terminal is gone
            asyncio.get_running_loop().remove_reader(self._source)
            self.close()
            return
        *lines, self._rest = (self._rest + self._decode(data)).split("\n")
        for line in lines:
            self._entered.put_nowait(line.rstrip("\r"))


class SharedHistory(PromptHistory):
    """The history that all faces share, as prompt_toolkit wants it. `wanted` is false while an answer is asked for."""

    def __init__(self, make: Callable[[], History], wanted: Callable[[], bool]) -> None:
        super().__init__()
        self._make = make
        self._store: History | None = None
        self._wanted = wanted

    def load_history_strings(self) -> Iterable[str]:
        """Newest first."""
        self._store = self._make()
        self._store.load()
        return list(reversed(self._store.entries))

    def append_string(self, string: str) -> None:
        """Remember a line, unless it is an answer to a question."""
        if self._wanted() and string.strip():
            super().append_string(string)

    def store_string(self, string: str) -> None:
        """Write it down, without waiting for the disk."""
        self._store = self._store or self._make()
        if (kept := self._store.remember(string)) is not None:
            threading.Thread(target=self._store.write, args=(kept,)).start()


def cut(text: str, columns: int) -> str:
    """The beginning of a line, in at most so many columns."""
    if width(text) <= columns:
        return text
    while text and width(text) > columns - 1:
        text = text[:-1]
    return text + "…"
