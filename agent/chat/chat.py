"""A conversation that stays open: what every face that talks with the user stands on.

A face gives `Chat` a listener and calls its verbs; it never touches the loop, the session or a plugin. Everything that happens
comes to the listener as an event, in order: the turn's own events, and those of `agent.chat.events`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from agent.chat.events import Action, Answered, Asked, ChatEvent, Opened, Queued, Refused, Shown
from agent.chat.questions import Inquiries, Questions
from agent.commands import Act, CommandContext, Result, RunTurn, Said
from agent.errors import StateError, UsageError
from agent.events import Notice, Steered, TurnFinished
from agent.hooks import ask_all
from agent.llm.errors import ModelError
from agent.llm.messages import ImagePart, Message, TextPart, user
from agent.loop.main_model import MODEL
from agent.loop.turn import Turn
from agent.records import told_in_place, view_of
from agent.session.tree import NAME
from agent.text.numbers import plural
from agent.tools import todo

if TYPE_CHECKING:
    from agent.approval.approval import UserAnswer
    from agent.events import Record
    from agent.forms import Answer
    from agent.host import Host, Options
    from agent.views import View

__all__ = ["Action", "Answered", "Asked", "Chat", "ChatEvent", "Opened", "Queued", "Refused", "Shown"]

STOPPED = "(I stopped you here.)"
"""What the model reads after a turn that the user broke off: otherwise a half answer looks like a whole one."""
HOLDS_QUEUE = frozenset({"failed", "usage", "budget", "retryable"})
"""After a turn that ended like this the next one would, too: what waits stays, and goes out after the user's next line."""


class Entered(NamedTuple):
    """A line as it was typed. With `options` it is a message as it stands, whatever it begins with; `prompt` is the message that a command
    has made of the line already. `turn`: not typed at all, but what a plugin wants to go on with."""

    text: str
    images: tuple[ImagePart, ...] = ()
    options: Mapping[str, Any] | None = None
    prompt: str = ""
    turn: Turn | None = None


class Chat:
    """One open conversation after another, with one host at a time.

    `build` makes a host for options (`agent.build.build` with the face's own notices); its approvals are answered here. `listen` gets
    every event, on the event loop, and must not block.
    """

    def __init__(self, build: Callable[[Options], Host], options: Options, listen: Callable[[ChatEvent], None]) -> None:
        self._build = build
        self._options = replace(options, chat=True)
        self._listen = listen
        self._questions = Questions(listen)
        self._inquiries = Inquiries(listen)
        self._host: Host | None = None
        self._waiting: list[Entered] = []
        self._told: tuple[str, ...] = ()
        self._worker: asyncio.Task[None] | None = None
        self._job: asyncio.Task[bool] | None = None
        self._turn: Turn | None = None
        self._ended: Turn | None = None

    @property
    def host(self) -> Host:
        """The agent and everything around it, for looking at. Another one after each change of session."""
        if self._host is None:
            raise RuntimeError("the chat is not open")
        return self._host

    @property
    def busy(self) -> bool:
        """Something runs: a turn, a command, or a command of the user's own shell."""
        return self._worker is not None

    @property
    def queue(self) -> tuple[str, ...]:
        """What waits, oldest first (see `Queued`)."""
        steered = self._turn.steered if self._turn else ()
        return (*(message.text for message in steered), *(entry.text for entry in self._waiting))

    def open(self) -> None:
        """Open the session (emits Opened). Raises UsageError, StateError."""
        self._adopt(self._build(self._options))

    async def reopen(self) -> None:
        """Build the host anew for the same session: the settings have changed. Raises UsageError, StateError; the old one then stays."""
        session = self.host.agent.session
        await self._switch(session.id if session.head is not None else None)

    async def renew(self, model: str) -> None:
        """The settings have another main model now: build everything anew. A conversation in which something was said goes on, with that
        model. Raises UsageError, StateError."""
        old = self.host
        if old.agent.session.head is not None:
            old.agent.session.set_state(MODEL, {"model": model})
            await self.reopen()
            return
        self.open()
        await old.aclose()

    async def submit(self, text: str, images: Sequence[ImagePart] = ()) -> None:
        """A line was entered: a command, `!` and a shell command (`!!`: not told to the model), or a message.

        Returns as soon as it is taken, not when it is done (see `idle`). While something runs it is queued, but for commands that may
        run at any time. What a `!` command does comes as tool_started, tool_progress and tool_finished with source `user`.
        """
        if not text.strip() and not images:
            return
        entry = Entered(text, tuple(images))
        if self.busy and self._at_once(text):
            await self._try(entry, lambda: self._command(entry, text, busy=True))
            return
        self._waiting.append(entry)
        self._go()

    def steer(self, text: str) -> None:
        """Say something to the running turn: it joins the history before the next call of the main model (event `steered`).

        Where no turn runs, or it ends before that, it is the next message.
        """
        if not text.strip():
            return
        if self._turn is not None:
            self._turn.steer(user(text))
            self._tell_queue()
            return
        self._waiting.insert(0, Entered(text, options={}))
        self._go()

    def stop(self) -> list[str]:
        """Stop what runs (Esc), keep the partial reply, and take everything that waits back. Also empties a queue that waits while idle."""
        texts = list(self.queue)
        self._waiting.clear()
        if self._turn is not None:
            self._turn.unsent()
            self._turn.cancel()
        elif self._job is not None:
            self._job.cancel()
        self._tell_queue()
        return texts

    def take_back(self) -> str | None:
        """Take the newest text that waits out of the queue again; None where nothing does."""
        text: str | None = None
        if self._waiting:
            text = self._waiting.pop().text
        elif self._turn is not None and (steered := self._turn.unsent()):
            text = steered.pop().text
            for message in steered:
                self._turn.steer(message)
        self._tell_queue()
        return text

    def view(self, record: Record) -> View:
        """A record in full, as its plugin shows it. A plugin that fails is named in an event, and the data shown as they are."""
        return view_of(self.host.plugins, record, self._plugin_failed)

    def answer(self, id: str, answer: UserAnswer) -> None:
        """Settle an `Asked`. An id that is settled already is ignored."""
        self._questions.answer(id, answer)

    def reply(self, id: str, answer: Answer) -> None:
        """Settle an `Inquired`. An id that is settled already is ignored."""
        self._inquiries.answer(id, answer)

    async def idle(self) -> None:
        """Wait until nothing runs (line mode, tests)."""
        while self._worker is not None:
            await asyncio.wait([self._worker])

    async def aclose(self) -> None:
        """Stop what runs and close the session."""
        self.stop()
        await self.idle()
        if self._host is not None:
            await self._host.aclose()

    # What waits, and doing it

    def _at_once(self, text: str) -> bool:
        """Whether a line needs no waiting for the turn's end. One that is to be refused does not."""
        try:
            parsed = self.host.commands.parse(text)
        except UsageError:
            return True
        return parsed is not None and parsed[0].may_run_busy(parsed[1])

    def _go(self) -> None:
        if self._worker is None:
            self._worker = asyncio.create_task(self._work())
        else:
            self._tell_queue()

    def _tell_queue(self) -> None:
        if self._turn is not None and self._waiting:
            self._turn.wake()
        if (texts := self.queue) != self._told:
            self._told = texts
            self._listen(Queued(texts=texts))

    async def _work(self) -> None:
        try:
            while (entry := self._next()) is not None:
                self._tell_queue()
                begun: list[Entered] = []
                self._job = asyncio.create_task(self._begin(entry, begun))
                await asyncio.wait([self._job])
                if not begun and entry.turn is None:
                    self._refuse(entry, "stopped before it began")
                if not self._job.cancelled() and not self._job.result():
                    break
        finally:
            self._worker = self._job = None
            self._tell_queue()
        if self._waiting:
            text = (
                f"{plural(len(self._waiting), 'message')} still queued, sent after your next one; Esc takes them back"
            )
            self._listen(Notice(level="warning", code="queue_waits", text=text))

    def _next(self) -> Entered | None:
        """What the user has to say, and after that what a plugin wants to go on with."""
        if self._waiting:
            return self._waiting.pop(0)
        further = self._ended.further if self._ended is not None else None
        self._ended = None
        if further is None or further.message is None:
            return None
        # It counts as running from here on, so that Esc stops it and its plugin hears of that.
        self._turn = Turn(self.host.agent, further.message)
        return Entered("", turn=self._turn)

    async def _begin(self, entry: Entered, begun: list[Entered]) -> bool:
        begun.append(entry)
        return await self._try(entry, lambda: self._do(entry))

    async def _try(self, entry: Entered, do: Callable[[], Awaitable[bool]]) -> bool:
        """Do it; every error goes to the face, and the text back with it. Returns whether what waits may go on."""
        try:
            return await do()
        except (UsageError, StateError, ModelError) as problem:
            self._refuse(entry, problem.message, problem.remedy)
        except Exception as problem:
            from agent.loop.crash import crashed

            kept = self._host.agent.crashed if self._host else crashed
            info = await asyncio.to_thread(kept, problem)
            self._refuse(entry, info.message, info.remedy)
        return True

    def _refuse(self, entry: Entered, message: str, remedy: str | None = None) -> None:
        self._listen(Refused(text=entry.text, message=message, remedy=remedy, images=entry.images))

    async def _do(self, entry: Entered) -> bool:
        if entry.turn is not None:
            return await self._run(entry.turn) not in HOLDS_QUEUE
        if entry.options is not None:
            return await self._message(entry, entry.prompt or entry.text, entry.options)
        if entry.text.startswith("!"):
            from agent.chat import shell

            await shell.run(self.host.agent, entry.text, self._listen)
            return True
        if self.host.commands.parse(entry.text) is None:
            return await self._message(entry, entry.text, {})
        return await self._command(entry, entry.text, busy=False)

    # Commands

    async def _command(self, entry: Entered, line: str, *, busy: bool) -> bool:
        # What runs beside a turn does not ask: it would hold up who typed it.
        ask = None if busy else self._inquiries.ask
        context = CommandContext(session=self.host.agent.session, emit=self._listen, busy=busy, ask=ask)
        result = await self.host.commands.run(line, context)
        assert result is not None, "only what the table knows comes here"
        return await self._carry_out(entry, result)

    async def _carry_out(self, entry: Entered, result: Result) -> bool:
        match result:
            case Said():
                self._listen(Shown(command=entry.text, view=result.view))
                if result.told:
                    self.host.agent.begin(user(result.told, synthetic="report"))
            case RunTurn() if self._turn is not None:
                self._waiting.append(Entered(entry.text, entry.images, result.options, result.prompt))
                self._tell_queue()
            case RunTurn():
                return await self._message(entry, result.prompt, result.options)
            case Act():
                return await self._act(entry, result)
        return True

    async def _act(self, entry: Entered, act: Act) -> bool:
        if act.name == "reopen":
            await self.reopen()
            return await self._command(entry, act.text, busy=False)
        if act.name == "open" and act.text == self.host.agent.session.id:
            self._tell_opened()
        elif act.name == "open":
            await self._switch(act.text or None)
        elif act.name == "undone":
            self._tell_opened()
        if act.view is not None:
            self._listen(Shown(command=entry.text, view=act.view))
        match act.name:
            case "undone" if act.text:
                self._listen(Action(name="compose", text=act.text))
            case "copy" | "theme" | "quit" | "resume" | "setup":
                self._listen(Action(name=act.name, text=act.text))
        return True

    # Turns

    async def _message(self, entry: Entered, text: str, options: Mapping[str, Any]) -> bool:
        agent = self.host.agent
        if self.host.model_error:
            raise self.host.model_error
        if entry.images and agent.client.facts(agent.model).images is False:
            raise UsageError(
                f"{agent.model} does not accept images", remedy="leave them out, or choose another with /model"
            )
        parts = (*((TextPart(text=text),) if text else ()), *entry.images)
        prompt = Message(role="user", parts=parts, command=entry.text if text != entry.text else "")
        turn = Turn(agent, prompt, options=options)
        status = await self._run(turn)
        if not _began(turn):
            self._refuse(entry, "the message was not sent")
        return status not in HOLDS_QUEUE

    async def _run(self, turn: Turn) -> str:
        status = "failed"
        self._turn = turn
        turn.others_wait = lambda: self._waiting
        turn.asks_with(self._inquiries.ask)
        try:
            async for event in turn.events():
                self._listen(event)
                if isinstance(event, Steered):
                    self._tell_queue()
                elif isinstance(event, TurnFinished):
                    status = event.status
        finally:
            self._turn = None
            self._waiting[:0] = [Entered(message.text, options={}) for message in turn.unsent()]
        self._ended = turn
        if status == "interrupted" and _began(turn):
            turn.agent.session.add(user(STOPPED, synthetic="interrupted"))
        return status

    # Sessions

    def _adopt(self, host: Host) -> None:
        host.agent.tools.approvals.approver = self._questions
        self._host, self._ended = host, None
        self._tell_opened()
        for code, said in host.found:
            self._listen(Notice(level="info", code=code, text=said))
        for plugin, text in ask_all(host.plugins, "greeting", lambda each: each.greeting(), self._plugin_failed):
            if text:
                self._listen(Notice(level="info", code="greeting", text=text, source=plugin.name))

    def _plugin_failed(self, problem: str) -> None:
        self._listen(Notice(level="error", code="plugin_failed", text=problem))

    def _tell_opened(self) -> None:
        session = self.host.agent.session
        self._listen(
            Opened(
                session=session.id,
                history=session.transcript(),
                records=told_in_place(self.host.plugins, session.records_in_place()),
                todo=todo.kept(session),
                seen=session.seen_in_place(),
            )
        )

    async def _switch(self, name: str | None) -> None:
        """Go on in another session, or with None in a new one that keeps the model, what is armed and the mode of approval."""
        old = self.host
        stays = {NAME, todo.STATE, *(plugin.name for plugin in old.plugins if not plugin.carries_over)}
        inherited = {key: value for key, value in old.agent.session.states().items() if key not in stays}
        options = replace(
            self._options,
            session=name,
            resume_latest=False,
            approve=old.agent.tools.approvals.mode,
            inherit={} if name else inherited,
        )
        if name == old.agent.session.id:  # its lock is for one; where building fails, its next entry takes it again
            await asyncio.to_thread(old.agent.session.close)
        new = self._build(options)  # where it fails, the old one is still open
        self._adopt(new)
        await old.aclose()


def _began(turn: Turn) -> bool:
    """Whether the turn came as far as its own message."""
    return turn.agent.session.began(turn.id)
