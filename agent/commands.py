"""The one table of slash commands. Help, completion and dispatch in every face are made from it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import field
from typing import TYPE_CHECKING, Any, Literal

from agent.errors import UsageError
from agent.text.nearest import did_you_mean
from agent.values import dataclass

if TYPE_CHECKING:
    from agent.events import Emit
    from agent.forms import Ask
    from agent.session.session import Session
    from agent.views import View


@dataclass(frozen=True, slots=True)
class RunTurn:
    """A command's result that is a turn to run: `options` hold for that turn alone, by plugin name."""

    prompt: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Said:
    """A command's result to show. `told`: what the model is to know of it, too; it joins the conversation as a message of its own."""

    view: View
    told: str = ""


@dataclass(frozen=True, slots=True)
class Act:
    """A command's result that only an open conversation can carry out; what can be done without one is done already.

    `open`: go on in the session `text` (empty: in a new one). `undone`: the session's head has moved, `text` is the message that was
    taken back. `reopen`: the settings have changed; build everything anew for the same session, then do the command `text`. `done`: there is
    nothing more to it. The others are for the face (see `agent.chat.events.Action`). `view` is shown in any case.
    """

    name: Literal["open", "undone", "reopen", "done", "copy", "theme", "quit", "resume", "setup"]
    text: str = ""
    view: View | None = None


Result = RunTurn | Said | Act


class Completion(str):
    """What can stand after a command's name, and for the menu what it does."""

    __slots__ = ("about",)
    about: str

    def __new__(cls, text: str, about: str = "") -> Completion:
        """A completion; without `about` a plain string does as well."""
        made = super().__new__(cls, text)
        made.about = about
        return made

    @staticmethod
    def about_of(text: str) -> str:
        """What a completion does; empty for a plain string."""
        return text.about if isinstance(text, Completion) else ""


@dataclass(frozen=True, slots=True)
class CommandContext:
    """What a command may use. `busy`: the agent is in the middle of a turn. `ask` shows the user a form and waits for the answer; None where
    nobody could answer."""

    session: Session
    emit: Emit
    busy: bool = False
    ask: Ask | None = None


@dataclass(frozen=True, slots=True)
class Command:
    """One command. `busy_ok`: may run while the agent works (for a verb of it, `busy_verbs`; where a word is not enough to tell,
    `busy_when`, asked with the argument). `complete` offers completions for the argument typed so far,
    each a string or, where there is more to say, a `Completion`."""

    name: str
    summary: str
    run: Callable[[CommandContext, str], Awaitable[Result]]
    args_hint: str = ""
    busy_ok: bool = False
    busy_verbs: frozenset[str] = frozenset()
    complete: Callable[[str], Iterable[str]] = lambda _typed: ()
    busy_when: Callable[[str], bool] = lambda _args: False
    key: str = ""
    """A function key that does it (`f5` to `f10`), for a command that is of use in the middle of something."""

    def may_run_busy(self, args: str) -> bool:
        """Whether it may run now, while the agent is busy."""
        verb = args.split(maxsplit=1)[0] if args.strip() else ""
        return self.busy_ok or verb in self.busy_verbs or self.busy_when(args.strip())


ALIASES = {
    "exit": "quit",
    "usage": "cost",
    "permissions": "approve",
    "new": "clear",
    "models": "model",
    "sessions": "resume",
    "continue": "resume",
    "rewind": "undo",
}
"""What people of other terminal agents type, and what it is called here."""


class CommandTable:
    """All commands by name. `later` brings more, when the table is looked at: a prompt that is not a command never needs them. `redact` takes
    configured keys out of what follows a command's name: it may go to a model (a goal, a question), as a message does."""

    def __init__(
        self,
        commands: Iterable[Command] = (),
        *,
        later: Callable[[], Iterable[Command]] | None = None,
        redact: Callable[[str], str] = lambda text: text,
    ) -> None:
        self._redact = redact
        self._commands: dict[str, Command] = {}
        self._later = later
        for command in commands:
            self.add(command)

    @property
    def commands(self) -> dict[str, Command]:
        """All of them."""
        if self._later is not None:
            later, self._later = self._later, None
            for command in later():
                self.add(command)
        return self._commands

    def add(self, command: Command) -> None:
        """Raises ValueError where the name is taken: two plugins can't share one."""
        if command.name in self._commands:
            raise ValueError(f"two commands are named /{command.name}")
        self._commands[command.name] = command

    def parse(self, text: str) -> tuple[Command, str] | None:
        """The command that a line names, and its arguments; None where the line is a message.

        A line that starts with a slash and is a path (`/etc/hosts is odd`) is a message. Raises UsageError for a word that looks like
        a command and is none.
        """
        if not text.startswith("/"):
            return None
        word, _, args = text[1:].partition(" ")
        word, newline, rest = word.partition("\n")
        if newline:
            args = f"{rest} {args}"
        word = ALIASES.get(word, word)
        if word in self.commands:
            return self.commands[word], args.strip()
        if not word or not word.replace("-", "").replace("_", "").isalnum():
            return None
        known = (*self.commands, *ALIASES)
        raise UsageError(
            f"there is no command /{word}",
            remedy=did_you_mean(word, known, "/help lists the commands", before="/", cutoff=0.7),
            kind="unknown_command",
        )

    async def run(self, text: str, context: CommandContext) -> Result | None:
        """Run the command that a line names; None where the line is a message. Raises UsageError."""
        parsed = self.parse(text)
        if parsed is None:
            return None
        command, args = parsed
        if context.busy and not command.may_run_busy(args):
            raise UsageError(
                f"/{command.name} can't run while the agent is working",
                remedy="stop the turn first, or wait for its end",
                kind="busy",
            )
        return await command.run(context, self._redact(args))
