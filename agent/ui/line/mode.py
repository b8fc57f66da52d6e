"""Line mode: a prompt at the bottom, finished blocks above it, the terminal's own scrollback, selection and copy."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import TYPE_CHECKING

from agent import clipboard, disclosure, notify, uisettings
from agent.approval import UserAnswer
from agent.attach import load_images
from agent.chat import Chat
from agent.chatevents import Action, Answered, Asked, ChatEvent, Opened, Queued, Refused, Shown
from agent.commands import CommandContext, Said
from agent.errors import StateError, UsageError
from agent.events import (
    Cost,
    Notice,
    ReasoningDeltaEvent,
    SideProgress,
    TextDeltaEvent,
    ToolProgress,
    TurnFinished,
    TurnStarted,
)
from agent.filesindex import FileIndex
from agent.gauge import measure
from agent.inputhistory import History
from agent.ui.line.paint import Paint, wants_colour
from agent.ui.line.printer import Printer
from agent.ui.line.status import Status, toolbar
from agent.ui.text import harmless

if TYPE_CHECKING:
    from prompt_toolkit.input import Input
    from prompt_toolkit.output import Output

    from agent.host import Host, Options
    from agent.local.fetch import Progress
    from agent.ui.line.terminal import Terminal

QUIT_S = 2.0
"""Seconds in which a second Ctrl+C leaves."""
TICK_S = 1.0
OFTEN = (TextDeltaEvent, ReasoningDeltaEvent, ToolProgress, SideProgress)
"""These come many times a second; the line at the bottom shows them at the next tick."""
ANSWERS = {"1": "once", "y": "once", "yes": "once", "2": "session", "3": "always", "4": "no", "n": "no", "no": "no"}


class LineMode:
    """One chat in line mode. `input` and `output` replace the terminal in tests; `env` says what the terminal can do."""

    def __init__(
        self,
        build: Callable[..., Host],
        options: Options,
        *,
        env: Mapping[str, str] = os.environ,
        input: Input | None = None,
        output: Output | None = None,
    ) -> None:
        self.env = env
        self.status = Status()
        self.chat = Chat(partial(build, notice=self._outside, progress=self._fetching), options, self.listen)
        self._cost = Cost(usd=0.0)
        self._window: int | None = None
        self._asked: list[Asked] = []
        self._choosing = False
        self._fetched = ""
        self._interrupted = -QUIT_S
        self._leaving = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._files: FileIndex | None = None
        self.terminal = self._make_terminal(input, output)
        self.printer = Printer(Paint(colour=wants_colour(env), width=self.terminal.columns), self.terminal.out)

    def _make_terminal(self, input: Input | None, output: Output | None) -> Terminal:
        from agent.ui.line.terminal import DumbTerminal, PromptTerminal, SharedHistory

        if self.env.get("TERM", "") in ("", "dumb", "unknown") and input is None:
            return DumbTerminal(prompt=self._prompt)
        from agent.ui.line.complete import LineCompleter

        # What depends on the session (its folder, its commands) is looked up when it is needed: none is open yet.
        return PromptTerminal(
            self,
            prompt=self._prompt,
            toolbar=self._toolbar,
            completer=LineCompleter(lambda: self.chat.host.commands, self._index),
            history=SharedHistory(self._history, wanted=lambda: not (self._asked or self._choosing)),
            input=input,
            output=output,
        )

    def _history(self) -> History:
        config = self.chat.host.config
        return History(config.paths.state / "history", redact=config.redact)

    def _index(self) -> FileIndex:
        context = self.chat.host.agent.tools.context
        if self._files is None or self._files.root != context.cwd:
            self._files = FileIndex(context.cwd, context.deny_paths)
        return self._files

    # From start to end

    async def run(self) -> int:
        """Until the user leaves. Returns the exit code. Raises UsageError, StateError where no session can be opened."""
        loop = asyncio.get_running_loop()
        self.chat.open()
        if error := self.chat.host.model_error:
            self.listen(Refused(text="", message=error.message, remedy=error.remedy))
        # With a prompt Ctrl+C is a key like any other; a terminal that edits lines itself sends the signal.
        handlers = {signal.SIGTERM: self.leave, signal.SIGHUP: self.leave}
        if not self.terminal.toolbar:
            handlers[signal.SIGINT] = self.interrupt
        for signum, handler in handlers.items():
            loop.add_signal_handler(signum, handler)
        ticking = loop.create_task(self._tick())
        try:
            while not self._leaving and (line := await self.terminal.read()) is not None:
                await self._entered(line)
        finally:
            ticking.cancel()
            await self.chat.aclose()
            for signum in handlers:
                loop.remove_signal_handler(signum)
            session = self.chat.host.agent.session
            if session.head is not None:
                self.terminal.out(f"go on with: moa --resume {session.id}")
            self.terminal.flush()
        return 0

    async def _tick(self) -> None:
        """The seconds of what runs; the file list while somebody types."""
        settings = uisettings.read(self.chat.host.config)
        while True:
            await asyncio.sleep(TICK_S)
            if self.status.moving and not settings.reduced_motion:
                self.terminal.refresh()
            if self._files is not None and self._files.stale:
                await self._files.refresh()

    # What is entered

    async def _entered(self, line: str) -> None:
        if self._asked and not line.startswith("/"):
            self._answer(line)
            return
        if not line.strip():
            return
        self._interrupted = -QUIT_S
        if not self.busy:
            self.printer.typed = line
        context = self.chat.host.agent.tools.context
        try:
            images = await asyncio.to_thread(load_images, line, context.cwd, context.deny_paths)
        except UsageError as error:
            self.listen(Refused(text=line, message=error.message, remedy=error.remedy))
            return
        if await self._agreed(line):
            await self.chat.submit(line, images)
        else:
            self.terminal.give_back(line)

    async def _agreed(self, line: str) -> bool:
        """Whether the line may go out: who will receive the conversation is shown, and asked about, once for each panel."""
        host = self.chat.host
        state = host.config.paths.state
        found = await asyncio.to_thread(disclosure.pending, host.plugins, line, state)
        if found is None:
            return True
        context = CommandContext(session=host.agent.session, emit=self.listen, busy=self.chat.busy)
        try:
            told = await host.commands.run(found.command, context)
        except (UsageError, StateError):
            return True  # what is wrong with it the turn says, and sends nothing
        if isinstance(told, Said):
            self.listen(Shown(command=found.command, view=told.view))
        without = "2 send it without · " if found.off else ""
        self.terminal.out(f"This is who receives it. 1 send it, and don't ask again · {without}3 not now")
        self._choosing = True
        try:
            answer = (await self.terminal.read() or "").strip()
        finally:
            self._choosing = False
        if answer == "1":
            await asyncio.to_thread(disclosure.agree, found, state)
        elif answer == "2" and found.off:
            await self.chat.submit(found.off)
            await self.chat.idle()
        return answer == "1" or (answer == "2" and bool(found.off))

    def _answer(self, line: str) -> None:
        """The answer to the oldest question: a number, and after a no the reason. Anything else is asked again, never taken for a yes."""
        word, _, reason = line.strip().partition(" ")
        verdict = ANSWERS.get(word.lower().rstrip(",.:"))
        if verdict is None or (reason and verdict != "no"):
            self.terminal.out("1, 2, 3 or 4; with a 4 you can say why: 4 because …")
            return
        asked = self._asked[0]
        self.chat.answer(asked.id, UserAnswer(verdict, reason.strip()))  # type: ignore[arg-type]

    @property
    def busy(self) -> bool:
        """Something runs, or waits its turn."""
        return self.chat.busy or self.status.queued > 0

    def stop(self) -> None:
        """Stop what runs, keep what came, and give back what waited."""
        if texts := self.chat.stop():
            self.terminal.give_back("\n".join(texts))

    def steer(self, text: str) -> None:
        """Say it to the running turn."""
        self.chat.steer(text)

    def interrupt(self) -> None:
        """Ctrl+C with nothing typed: stop, or leave the second time."""
        if self.busy:
            self.stop()
            return
        now = time.monotonic()
        if now - self._interrupted < QUIT_S:
            self.leave()
            return
        self._interrupted = now
        self.terminal.out("Ctrl+C again leaves; /quit and Ctrl+D leave at once")

    def leave(self) -> None:
        """End line mode; what runs is stopped."""
        self._leaving = True
        self.terminal.close()

    # What happens

    def listen(self, event: ChatEvent) -> None:
        """Every event of the chat: to the status, to the printer, and to what only a face can do."""
        self.status.apply(event)
        self.printer.apply(event)
        match event:
            case Asked():
                if not self._asked:
                    self.terminal.set_aside()
                self._asked.append(event)
            case Answered():
                self._asked = [asked for asked in self._asked if asked.id != event.id]
                if not self._asked:
                    self.terminal.resume()
            case Refused() if event.text:
                self.terminal.give_back(event.text)
            case Queued() if event.texts and not self.terminal.toolbar:
                self.terminal.out(f"queued: {harmless(event.texts[-1])}")
            case Action():
                self._act(event)
            case Opened() | Shown() | TurnStarted() | Notice():
                self._look()
            case TurnFinished():
                self._look()
                self._notify(event)
            case _:
                pass
        if not isinstance(event, OFTEN):
            self.terminal.refresh()

    def _outside(self, code: str, text: str) -> None:
        """What happens outside of a turn: a model being loaded, a quirk learned."""
        self.listen(Notice(level="info", code=code, text=text))

    def _fetching(self, progress: Progress) -> None:
        """A download: a line for each step, and each quarter of it."""
        quarter = 4 * progress.done // progress.total if progress.total else 0
        size = f" {25 * quarter} % of {progress.total / 1e6:.0f} MB" if progress.total else ""
        if (text := progress.step + size) != self._fetched:
            self._fetched = text
            self.terminal.out(f"· {text}")

    def _act(self, event: Action) -> None:
        match event.name:
            case "copy":
                self._in_background(self._copy(event.text))
            case "theme":
                self.terminal.out("line mode has the terminal's own colours; NO_COLOR=1 turns them off")
            case "resume" | "compose" if not self.terminal.toolbar:
                if event.name == "compose":  # it can't be put where it can be changed
                    self.terminal.out(f"it was: {harmless(event.text)}")
            case "resume":
                self.terminal.give_back("/resume ")
            case "compose":
                self.terminal.give_back(event.text)
            case "quit":
                self.leave()

    async def _copy(self, text: str) -> None:
        write = self.terminal.raw if self.terminal.toolbar else None
        self.terminal.out(f"· {await clipboard.copy(text, write, env=self.env)}")

    def _in_background(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _notify(self, event: TurnFinished) -> None:
        settings = uisettings.read(self.chat.host.config)
        if event.duration_s >= settings.notify_after_s and settings.notify != "off":
            self.terminal.raw(notify.sequence("moa", f"the turn is over: {event.status}", settings.notify, self.env))

    def _look(self) -> None:
        """What the toolbar shows of the session, looked up at its seams and not for every repaint."""
        agent = self.chat.host.agent
        total = agent.ledger.total(session=agent.session.id)
        self._cost = Cost(usd=total.usd, lower_bound=total.lower_bound)
        with contextlib.suppress(UsageError):
            self._window = agent.client.facts(agent.model).context_window
            if agent.session.head is not None and not self.status.moving:
                self.status.context = measure(agent).used

    def _prompt(self) -> str:
        return "1-3 › " if self._choosing else "1-4 › " if self._asked else "› "

    def _toolbar(self) -> str:
        host = self.chat.host
        return toolbar(
            self.status,
            model=f"{host.agent.model}" if host.model_error is None else "no model",
            plugins=list(host.status()),
            cost=self._cost,
            window=self._window,
            approve=host.agent.tools.approvals.mode,
        )
