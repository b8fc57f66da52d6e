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

from agent.approval.approval import MODES, next_mode
from agent.chat import disclosure, remember
from agent.chat.chat import Chat
from agent.chat.events import Action, Answered, Asked, ChatEvent, Inquired, Opened, Queued, Refused, Settled, Shown
from agent.commands import CommandContext, Said
from agent.errors import StateError, UsageError
from agent.events import (
    Cost,
    ModelFinished,
    Notice,
    ReasoningDeltaEvent,
    SideFinished,
    SideProgress,
    TextDeltaEvent,
    ToolProgress,
    TurnFinished,
    TurnStarted,
)
from agent.forms import EditFile
from agent.loop.window import measure
from agent.process import deadline
from agent.process.detach import detach
from agent.text.cleaning import harmless
from agent.ui import clipboard, notify
from agent.ui import settings as uisettings
from agent.ui.file_index import FileIndex
from agent.ui.history import History
from agent.ui.line.forms import LineForm
from agent.ui.line.leading import Leading, Quarters
from agent.ui.line.paint import Paint, wants_colour
from agent.ui.line.printer import Printer
from agent.ui.line.questions import TOO_SOON, LineQuestions
from agent.ui.line.status import Status, toolbar
from agent.ui.mentions import load_images
from agent.ui.ready import is_message, missing, why_lead

if TYPE_CHECKING:
    from prompt_toolkit.input import Input
    from prompt_toolkit.output import Output

    from agent.host import Host, Options
    from agent.local.source import Progress
    from agent.ui.line.terminal import Terminal

QUIT_S = 2.0
"""Seconds in which a second Ctrl+C leaves."""
TICK_S = 1.0
OFTEN = (TextDeltaEvent, ReasoningDeltaEvent, ToolProgress, SideProgress)
"""These come many times a second; the line at the bottom shows them at the next tick."""


class LineMode:
    """One chat in line mode. `input`, `output` and `clock` replace the real ones in tests; `env` says what the terminal can do."""

    def __init__(
        self,
        build: Callable[..., Host],
        options: Options,
        *,
        env: Mapping[str, str] = os.environ,
        input: Input | None = None,
        output: Output | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.env = env
        self.status = Status()
        self.chat = Chat(partial(build, notice=self._outside, progress=self._fetching), options, self.listen)
        self._first = options.first
        self._cost = Cost(usd=0.0)
        self._window: int | None = None
        self._form: LineForm | None = None
        self._leading: Leading | None = None
        self._inquiry = ""
        self._questions = LineQuestions(clock)
        self._choosing = ""
        self._interrupted = -QUIT_S
        self._leaving = False
        self._deadline = deadline.Deadline(1)
        self._tasks: set[asyncio.Task[None]] = set()
        self._files: FileIndex | None = None
        self.terminal = self._make_terminal(input, output)
        self._quarters = Quarters(self.terminal)
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
            history=SharedHistory(self._history, wanted=lambda: not (self.answering or self._form)),
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
        # With a prompt Ctrl+C is a key like any other; a terminal that edits lines itself sends the signal.
        deadline.listen(self._leave_in_order, self._deadline)
        if not self.terminal.toolbar:
            loop.add_signal_handler(signal.SIGINT, self.interrupt)
        loop.add_signal_handler(signal.SIGCONT, self.terminal.take_again)
        ticking = loop.create_task(self._tick())
        try:
            if (why := missing(self.chat.host)) is not None:
                self._lead(why, self._first)
            elif self._first:
                await self._entered(self._first)
            while not self._leaving and (line := await self.terminal.read()) is not None:
                await self._entered(line)
        finally:
            ticking.cancel()
            await self.chat.aclose()
            detach()
            session = self.chat.host.agent.session
            if session.resumable:
                self.terminal.out(f"resume with: moa --resume {session.id}")
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
                if text := self._files.remark():
                    self.terminal.out(f"· {text}")

    # What is entered

    async def _entered(self, line: str) -> None:
        if self._leading is not None and not line.startswith("/"):
            if not self._leading.answer(line):
                self.terminal.give_back(line)
            return
        if self._questions.last and not line.startswith("/"):
            self._answer(line)
            return
        if self._form is not None and not line.startswith("/"):
            self._fill_in(self._form, line)
            return
        if not line.strip():
            return
        self._interrupted = -QUIT_S
        if remember.is_note(line) and self.terminal.typed(line):
            await self._note(line)
            return
        if not self.busy:
            self.printer.typed = line
        context = self.chat.host.agent.tools.context
        try:
            images = await asyncio.to_thread(load_images, self.terminal.by_hand(line), context.cwd, context.deny_paths)
        except UsageError as error:
            self.listen(Refused(text=line, message=error.message, remedy=error.remedy))
            return
        if is_message(self.chat, line) and (why := missing(self.chat.host)) is not None:
            self._lead(why, line)
        elif await self._agreed(line):
            await self.chat.submit(line, images)
        else:
            self.terminal.give_back(line)

    def _lead(self, why: str, then: str = "") -> None:
        """Lead to a model, and open the chat anew with it. `then`: a command that is done after that, or a message that comes back."""
        if self._leading is None:
            self._in_background(self._lead_to_model(why, then))

    async def _lead_to_model(self, why: str, then: str) -> None:
        self._leading = Leading(self.terminal)
        try:
            model = await self._leading.lead(self.chat.host, why)
        finally:
            self._leading = None
        if model is not None:
            await self.chat.renew(model)
            self.terminal.out(f"· the main model is {model}")
        if then and not then.startswith("/"):
            self.terminal.give_back(then)
        elif then and model is not None:
            await self.chat.submit(then)
        self.terminal.refresh()

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
        answer = await self._choice(f"This is who it is sent to. 1 send it, and don't ask again · {without}3 not now")
        if answer == "1":
            await asyncio.to_thread(disclosure.agree, found, state)
        elif answer == "2" and found.off:
            await self.chat.submit(found.off)
            await self.chat.idle()
        return answer == "1" or (answer == "2" and bool(found.off))

    def _answer(self, line: str) -> None:
        """The answer to the oldest question; what is none is asked again."""
        asked = self._questions.asked[0]
        answer, said = self._questions.read(line)
        if answer is None:
            self.printer.say(said)
        else:
            self.chat.answer(asked.id, answer)

    def _inquired(self, event: Inquired) -> None:
        self._inquiry = event.id
        if isinstance(event.form, EditFile):
            self._in_background(self._edit(event.id, event.form))
            return
        self.terminal.set_aside()
        self._form = LineForm(event.form)
        self._questions.step_back()
        self.printer.say("\n".join(self._form.rows()))

    def _fill_in(self, form: LineForm, line: str) -> None:
        """A line below a form: the answer, or a tick."""
        if form.form.sudden and self._questions.too_soon():
            self.printer.say(TOO_SOON)
            return
        answered, answer, said = form.read(line)
        if answered:
            self.chat.reply(self._inquiry, answer)
        else:
            self.printer.say(said or "\n".join(form.rows()))

    async def _edit(self, inquiry: str, form: EditFile) -> None:
        from agent.ui import editor

        answer = None
        try:
            answer = () if await self.terminal.lend(lambda: editor.run(form.path)) else None
        except UsageError as error:
            self.listen(Refused(text="", message=error.message, remedy=error.remedy))
        finally:
            self.chat.reply(inquiry, answer)

    @property
    def busy(self) -> bool:
        """Something runs, or waits its turn."""
        return self.chat.busy or self.status.queued > 0

    def stop(self) -> None:
        """Stop what runs, keep what came, and give back what waited."""
        if texts := self.chat.stop():
            self.terminal.give_back("\n".join(texts))

    @property
    def answering(self) -> bool:
        """A question is open: what is typed is its answer."""
        return bool(self._questions.asked) or bool(self._choosing) or self._leading is not None

    def steer(self, text: str) -> None:
        """Say it to the running turn."""
        self.chat.steer(text)

    def next_mode(self) -> None:
        """Take the next approval mode, and say what it means."""
        approvals = self.chat.host.agent.tools.approvals
        approvals.mode = next_mode(approvals.mode)
        self.printer.say(f"· {approvals.mode}: {MODES[approvals.mode]}")
        self.terminal.refresh()

    def command(self, line: str, then: str = "") -> None:
        """Do what a key stands for, and put `then` into the prompt."""

        async def work() -> None:
            await self.chat.submit(line)
            await self.chat.idle()
            if then:
                self.terminal.give_back(then)

        self._in_background(work())

    def whole(self) -> None:
        """Print the whole transcript."""
        self.printer.whole(self.chat.host.agent.session.transcript())

    async def _note(self, line: str) -> None:
        """Ask where a line for AGENTS.md belongs, and add it there."""
        host, show = self.chat.host, self.chat.host.agent.tools.context.show
        found = remember.places(host)
        ways = [f"{number} add it to {show(place.path)}" for number, place in enumerate(found, 1)]
        answer = await self._choice(" · ".join([*ways, f"{len(ways) + 1} send it as a message · anything else: back"]))
        if answer == str(len(ways) + 1):
            await self.chat.submit(line)
        elif answer in ("1", "2"):
            place = found[int(answer) - 1]
            try:
                await asyncio.to_thread(remember.add, host, place, line)
            except (UsageError, StateError) as error:
                self.listen(Refused(text=line, message=error.message, remedy=error.remedy))
            else:
                self.terminal.out(f"· added to {show(place.path)}; a new conversation begins with it")
        else:
            self.terminal.give_back(line)

    async def _choice(self, text: str) -> str:
        """The answer to a choice of the program's own. What the agent asks meanwhile stands below it, and is answered first."""
        self._choosing = text
        self._questions.step_back()
        self.printer.say(text)
        try:
            while (line := await self.terminal.read()) is not None and self._questions.last:
                self._answer(line)
            return (line or "").strip()
        finally:
            self._choosing = ""
            self._over()

    def _over(self) -> None:
        """What was asked beside the agent's questions is over."""
        self._questions.come_back()
        if self._questions.asked:
            self.printer.apply(self._questions.asked[0])

    def pressed(self, key: str) -> None:
        """Do the command that has this key."""
        for command in self.chat.host.commands.commands.values():
            if command.key == key:
                self._in_background(self.chat.submit(f"/{command.name}"))

    def interrupt(self) -> None:
        """Ctrl+C with nothing typed: stop, or leave the second time."""
        if self._leading is not None and self._leading.stop():
            return
        if self.busy:
            self.stop()
            return
        now = time.monotonic()
        if now - self._interrupted < QUIT_S:
            self.leave()
            return
        self._interrupted = now
        self.terminal.out("Ctrl+C again leaves; /quit and Ctrl+D leave at once")

    def _leave_in_order(self) -> None:
        """The terminal is gone, or somebody asks the program to end."""
        detach()
        self.leave()

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
                self._questions.ask(event, typing=not self._questions.asked and self.terminal.set_aside())
            case Answered():
                self._questions.settle(event.id)
                if not self._questions.asked and self._form is None:
                    if self._choosing:
                        self.printer.say(self._choosing)
                    self.terminal.resume()
            case Inquired():
                self._inquired(event)
            case Settled():
                if self._form is not None:
                    self._form = None
                    self._over()
                    if not self._questions.asked:
                        self.terminal.resume()
            case Refused() if event.text and is_message(self.chat, event.text):
                self.terminal.give_back(event.text)  # a command is one ↑ away, and must not stick to what is typed next
            case Queued() if event.texts and not self.terminal.toolbar:
                self.terminal.out(f"queued: {harmless(event.texts[-1])}")
            case Action():
                self._act(event)
            case Opened() | Shown() | TurnStarted() | Notice() | ModelFinished() | SideFinished():
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
        self._quarters.update(total=progress.total, progress=progress.done, step=progress.step)

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
            case "setup":
                self._lead(why_lead(self.chat.host), event.text)
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
        if total.usd is not None or not self.status.moving:  # a call under way is unknown as yet
            self._cost = Cost(usd=total.usd, lower_bound=total.lower_bound)
        with contextlib.suppress(UsageError):
            self._window = agent.client.facts(agent.model).context_window
            if agent.session.head is not None and not self.status.moving:
                self.status.context = measure(agent).used

    def _prompt(self) -> str:
        if self._leading is not None:
            return self._leading.mark
        if self._form is not None and not self._questions.last:
            return f"0-{len(self._form.form.choices)} › "
        return "1-4 › " if self._questions.last else "1-3 › " if self._choosing else "› "

    def _toolbar(self) -> str:
        host = self.chat.host
        return toolbar(
            self.status,
            model=host.agent.model_name if host.model_error is None else "no model",
            plugins=[*([f"effort {host.agent.effort}"] if host.agent.effort else []), *host.status()],
            cost=self._cost,
            window=self._window,
            approve=host.agent.tools.approvals.mode,
        )
