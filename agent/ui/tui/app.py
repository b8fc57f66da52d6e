"""The chat as a full-screen program. This file only wires: the conversation's events to the widgets, their messages to the conversation."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from textual import events, on, work
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType

from agent.chat.events import Action, Answered, Asked, ChatEvent, Inquired, Opened, Queued, Refused, Settled, Shown
from agent.commands import CommandTable
from agent.config.paths import Paths
from agent.errors import StateError, UsageError
from agent.events import Notice, TurnFinished, TurnStarted
from agent.loop.crash import crashed
from agent.process import deadline
from agent.process.folder import here
from agent.ui.file_index import FileIndex
from agent.ui.history import History
from agent.ui.ready import is_message, missing
from agent.ui.tui import actions
from agent.ui.tui.composer.composer import Composer
from agent.ui.tui.counsel.panel import PanelView
from agent.ui.tui.counsel.side_log import SideLog
from agent.ui.tui.dialogs.approve import ApprovalBar
from agent.ui.tui.host_status import glance, spent_before
from agent.ui.tui.palette import SlashCommands
from agent.ui.tui.quit import SecondPress, farewell
from agent.ui.tui.status import StatusLine
from agent.ui.tui.transcript.transcript import Transcript
from agent.ui.tui.welcome import Welcome

if TYPE_CHECKING:
    from textual.driver import Driver

    from agent.chat.chat import Chat
    from agent.host import Host, Options

CHANGES_STATUS = (Opened, Shown, TurnStarted, TurnFinished, Notice, Answered, Action)
"""After these the model, what is armed, or the mode of approval may be another one."""


class ChatApp(App[None]):
    """One conversation on the screen. `build` makes a host from options; it takes `notice` and `progress` for what happens outside a turn.

    After the end `problem` is what kept it from opening, and `farewell` the command that comes back to the session.
    """

    TITLE = "moa"
    CSS_PATH = "styles.tcss"
    COMMANDS: ClassVar = {SlashCommands}
    BINDING_GROUP_TITLE = "Everywhere"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f1", "help", "Help: keys and commands"),
        Binding("f2", "focus_panel", "To the active members (stop, continue, open)"),
        Binding("f3", "focus_transcript", "To the newest entry of the transcript"),
        Binding("f4", "inspect", "Open the last counsel"),
        Binding("ctrl+o", "whole_transcript", "The transcript in full; / searches it"),
        Binding("alt+g", "go_on", "Continue with the answers so far"),
        Binding("shift+pageup,ctrl+pageup", "page(-1)", "Scroll the transcript up"),
        Binding("shift+pagedown,ctrl+pagedown", "page(1)", "Scroll the transcript down"),
        Binding("escape", "to_composer", "Back to the composer", show=False),
        Binding("ctrl+c,ctrl+q", "leave", "Quit (twice)", show=False),
    ]

    def __init__(self, build: Callable[..., Host], options: Options) -> None:
        super().__init__()
        self._build = build
        self._options = options
        self._leaving = SecondPress()
        self._going_back = SecondPress()
        self._order = asyncio.Lock()
        self._chat: Chat | None = None
        self.work_log = SideLog()
        self.settings = actions.early_settings()
        self.problem: UsageError | StateError | None = None
        self.farewell = ""
        self.deadline = deadline.Deadline(1, partial(actions.abandon_terminal, self))
        self.leaving = False
        """The program has been told to end from outside, and does."""

    def compose(self) -> ComposeResult:
        """Transcript, roster, composer (or a question in its place), status."""
        root = (self._options.cwd or here()).absolute()
        history = History(Paths.from_env(os.environ).state / "history")
        yield Welcome()
        yield Transcript()
        yield PanelView(self.work_log)
        yield ApprovalBar()
        yield Composer(CommandTable(), FileIndex(root), history, clipboard=actions.clipboard_reader())
        yield StatusLine(clock=lambda: self.work_log.clock())

    def on_mount(self) -> None:
        """The first frame shows an empty chat; then the session is opened."""
        self.query_one(Transcript).display = False
        with suppress(UsageError):  # an unknown theme is told of when everything is open
            actions.dress(self)
        self.query_one(Composer).focus()
        if self.leaving:  # a signal came before anything was drawn
            self.exit()
        self.call_after_refresh(self._open)

    # The conversation

    @property
    def chat(self) -> Chat:
        """The open conversation."""
        assert self._chat is not None, "nothing is sent before it is open"
        return self._chat

    @property
    def chat_is_open(self) -> bool:
        """Whether there is one."""
        return self._chat is not None

    @property
    def commands(self) -> CommandTable | None:
        """The commands of the open conversation."""
        return self.chat.host.commands if self.chat_is_open else None

    def _open(self) -> None:
        from agent.chat.chat import Chat

        build = partial(self._build, notice=self._outside, progress=partial(actions.fetching, self))
        chat = Chat(build, self._options, self.listen)
        try:
            self._chat = chat
            chat.open()
            actions.settle_in(self, chat.host)
        except (UsageError, StateError) as problem:
            self._chat = None
            self.problem = problem
            self.exit(return_code=2 if isinstance(problem, UsageError) else 1)
            return
        first, self._options = self._options.first, replace(self._options, first="")
        if (why := missing(chat.host)) is not None:
            self.query_one(Composer).take_back([first] if first else [])
            self._first_run(why)
        elif first:
            self.submit(first)

    def _outside(self, code: str, text: str) -> None:
        """What happens outside a turn: a model being loaded, a quirk learned."""
        self.listen(Notice(level="info", code=code, text=text))

    def listen(self, event: ChatEvent) -> None:
        """One event of the conversation, in order."""
        if self._exception is not None:  # the screen is gone; what runs is being ended
            return
        self.query_one(PanelView).apply(event)
        self.query_one(StatusLine).apply(event)
        if not actions.is_session_list(event):
            self.query_one(Transcript).apply(event)
        match event:
            case Opened():
                self._opened(event)
            case Asked():
                self.query_one(Composer).display = False
                self.query_one(ApprovalBar).ask(event, typed_at=self.query_one(Composer).editor.typed_at)
            case Answered():
                self.query_one(ApprovalBar).settle(event.id)
            case Inquired():
                actions.inquire(self, event)
            case Settled():
                actions.settle(self, event)
            case Queued():
                self.query_one(Composer).show_queue(event.texts)
            case Refused():
                self._refused(event)
            case Action():
                actions.act(self, event)
            case TurnFinished() if event.source == "main":
                actions.tell_end(self, event)
            case _:
                pass
        if isinstance(event, TurnStarted | TurnFinished) and event.source == "main":
            self.query_one(Composer).busy = isinstance(event, TurnStarted)
        if isinstance(event, CHANGES_STATUS):
            self._look_at_host()
        empty = not self.query_one(Transcript).items
        if empty != self.query_one(Welcome).display:
            self.query_one(Welcome).display, self.query_one(Transcript).display = empty, not empty

    def _look_at_host(self) -> None:
        facts = glance(self.chat.host)
        self.query_one(StatusLine).show(**facts)
        self.query_one(Welcome).tell(model=facts["model"], plugins=facts["plugins"], cwd=facts["cwd"])

    def _opened(self, event: Opened) -> None:
        host = self.chat.host
        self.work_log.load(event.records)
        composer = self.query_one(Composer)
        composer.commands = host.commands
        for command in host.commands.commands.values():
            if command.key:
                self.bind(command.key, f"command('{command.name}')", description=command.summary)
        if composer.files is not None:
            composer.files.deny = host.agent.tools.context.deny_paths
        if composer.history is not None:
            composer.history.redact = host.config.redact
        self.query_one(StatusLine).show(**spent_before(host))

    def _refused(self, event: Refused) -> None:
        composer = self.query_one(Composer)
        composer.refuse(event.text)
        for image in event.images:
            composer.attach(image)

    # What the user does

    @on(Composer.Submitted)
    def _submitted(self, event: Composer.Submitted) -> None:
        self._leaving.forget()
        self._going_back.forget()
        self._send(event)

    @work(group="send", exit_on_error=False)
    async def _send(self, event: Composer.Submitted) -> None:
        async with self._order:  # looking at what a line discloses takes a moment: the next one must not overtake it
            try:
                await self._deliver(event)
            except Exception as problem:
                info = self.chat.host.agent.crashed(problem) if self.chat_is_open else crashed(problem)
                self.listen(Refused(text=event.text, message=info.message, remedy=info.remedy, images=event.images))

    async def _deliver(self, event: Composer.Submitted) -> None:
        if not self.chat_is_open:
            self.query_one(Composer).take_back([event.text])
            return
        if is_message(self.chat, event.text) and (why := missing(self.chat.host)) is not None:
            await actions.first_run(self, self.chat, why)
            self._refused(Refused(text=event.text, message="", images=event.images))
        elif not await actions.agreed(self, self.chat, event.text):
            self._refused(Refused(text=event.text, message="", images=event.images))
        elif event.steer and not event.images:
            self.chat.steer(event.text)
        else:
            await self.chat.submit(event.text, event.images)

    def submit(self, line: str) -> None:
        """Do what a line says, as if it had been typed."""
        self.post_message(Composer.Submitted(line))

    @on(PanelView.Command)
    def _panel_command(self, event: PanelView.Command) -> None:
        self.submit(event.line)

    @on(Composer.StopRequested)
    def _stop(self) -> None:
        if not self.chat_is_open:
            return
        if self.chat.busy or self.chat.queue:
            self._going_back.forget()
            self.query_one(Composer).take_back(self.chat.stop())
        elif self.chat.host.agent.session.head is not None:
            if self._going_back.press():
                actions.go_back(self)
            else:
                self.notify("Esc again goes back to an earlier message", timeout=2, markup=False)

    @on(Composer.ModeRequested)
    def _next_mode(self) -> None:
        if self.chat_is_open:
            actions.next_mode(self)
            self._look_at_host()

    @on(Composer.NoteEntered)
    def _note(self, event: Composer.NoteEntered) -> None:
        actions.note(self, event.text)

    @on(Composer.PageRequested)
    def _page(self, event: Composer.PageRequested) -> None:
        self.action_page(event.direction)

    @on(Composer.HelpRequested)
    def _help(self) -> None:
        self.action_help()

    @on(Composer.RecallRequested)
    def _recall(self) -> None:
        if self.chat_is_open and (text := self.chat.take_back()) is not None:
            self.query_one(Composer).take_back([text])

    @on(ApprovalBar.Answered)
    def _answered(self, event: ApprovalBar.Answered) -> None:
        self.chat.answer(event.id, event.answer)

    @on(ApprovalBar.Strayed)
    def _strayed(self, event: ApprovalBar.Strayed) -> None:
        self.query_one(Composer).editor.insert(event.text)

    @on(ApprovalBar.Emptied)
    def _emptied(self) -> None:
        composer = self.query_one(Composer)
        composer.display = True
        composer.focus()

    @on(PanelView.Emptied)
    def _nobody_at_work(self) -> None:
        self.action_to_composer()

    @on(PanelView.InspectRequested)
    def _inspect_group(self, event: PanelView.InspectRequested) -> None:
        actions.inspect(self, event.group)

    @on(Transcript.InspectRequested)
    def _inspect_record(self, event: Transcript.InspectRequested) -> None:
        actions.inspect(self, self.work_log.id_of(event.record))

    # Keys

    def on_key(self, event: events.Key) -> None:
        """Text that is typed where no text is taken belongs into the composer."""
        taken = event.key in self.screen.active_bindings or self.query_one(ApprovalBar).waiting
        if not taken and event.is_printable and event.character and len(self.screen_stack) == 1:
            composer = self.query_one(Composer)
            composer.focus()
            composer.editor.insert(event.character)

    def action_help(self) -> None:
        """F1."""
        from agent.ui.tui.dialogs.help import Help

        if not isinstance(self.screen, Help):
            self.push_screen(Help(self.screen, self.commands))

    def action_focus_panel(self) -> None:
        """F2."""
        panel = self.query_one(PanelView)
        if panel.display:
            panel.focus()

    def action_focus_transcript(self) -> None:
        """F3."""
        self.query_one(Transcript).focus_last()

    def action_inspect(self) -> None:
        """F4."""
        actions.inspect(self, None)

    def action_command(self, name: str) -> None:
        """The key of a command."""
        self.submit(f"/{name}")

    def action_whole_transcript(self) -> None:
        """Ctrl+O."""
        actions.whole_transcript(self)

    def action_go_on(self) -> None:
        """Alt+G."""
        self.query_one(PanelView).go_on()

    def action_page(self, direction: int) -> None:
        """A page of the transcript, wherever the focus is."""
        transcript = self.query_one(Transcript)
        if direction < 0:
            transcript.scroll_page_up(animate=False)
        else:
            transcript.scroll_page_down(animate=False)

    def action_to_composer(self) -> None:
        """Esc anywhere else; a question keeps the keyboard until it is answered."""
        if not self.query_one(ApprovalBar).waiting:
            self.query_one(Composer).focus()

    def from_palette(self, name: str, takes_arguments: bool) -> None:
        """A command was chosen in the palette."""
        if takes_arguments:
            self.query_one(Composer).set_text(f"/{name} ")
            self.query_one(Composer).focus()
        else:
            self.submit(f"/{name}")

    # The end

    @on(Composer.QuitRequested)
    async def action_leave(self) -> None:
        """Ctrl+C with nothing typed, Ctrl+D, Ctrl+Q: twice within two seconds."""
        if self._leaving.press():
            await self.action_quit()
        else:
            busy = self.chat_is_open and self.chat.busy
            self.notify("Again to quit" + (" (this stops the turn)" if busy else ""), timeout=2, markup=False)

    async def action_quit(self) -> None:
        """End what runs, keep the conversation, and go."""
        await self.end_conversation()
        self.exit()

    def leave_in_order(self) -> None:
        """The terminal is gone, or somebody asks the program to end: the session is kept, children are ended, within a bounded time."""
        if self.leaving:
            return
        self.leaving = True
        self.deadline.start()
        if self.is_running:
            self.run_worker(self.action_quit(), exit_on_error=False)

    async def end_conversation(self) -> None:
        """Stop what runs and close the session; nothing where that is done already."""
        if self.chat_is_open and not self.farewell:
            session = self.chat.host.agent.session
            await self.chat.aclose()
            self.farewell = farewell(session.id, began=session.resumable)

    def get_driver_class(self) -> type[Driver]:
        """Textual's choice, but for the terminal driver of our own on POSIX."""
        chosen = super().get_driver_class()
        return actions.driver_class(chosen)

    def _fatal_error(self) -> None:
        # Textual would print a traceback with the values of everything, keys among them. `run` raises the error instead, for the one
        # place that writes it to a file with what is secret taken out.
        self._close_messages_no_wait()

    def copy_to_clipboard(self, text: str) -> None:
        """Everything in the program that copies comes here."""
        self._clipboard = text
        actions.copy(self, text)

    @work(group="first run", exclusive=True)
    async def _first_run(self, why: str) -> None:
        await actions.first_run(self, self.chat, why)


def run(build: Callable[..., Host], options: Options) -> int:
    """The chat until the user leaves; returns the exit code. Raises UsageError or StateError where it can't be opened."""
    app = ChatApp(build, options)
    asyncio.run(_live(app))
    if app.problem is not None:
        raise app.problem
    if app.farewell and not actions.terminal_lost(app):
        print(app.farewell)
    if app._exception is not None:
        raise app._exception
    return app.return_code or 0


async def _live(app: ChatApp) -> None:
    deadline.listen(app.leave_in_order, app.deadline)
    await app.run_async(mouse=app.settings.mouse)
    if app._exception is not None:
        await app.end_conversation()
