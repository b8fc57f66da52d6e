"""The one table of slash commands. Help, completion and dispatch in every face are made from it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from agent.errors import UsageError

if TYPE_CHECKING:
    from agent.plugin import Emit
    from agent.session import Session
    from agent.views import View


@dataclass(frozen=True, slots=True)
class RunTurn:
    """A command's result that is a turn to run: `options` hold for that turn alone, by plugin name."""

    prompt: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Said:
    """A command's result to show. `spoken` is one line for a status or a notice; `view` the whole."""

    view: View


@dataclass(frozen=True, slots=True)
class Act:
    """A command's result that only an open conversation can carry out; what can be done without one is done already.

    `open`: go on in the session `text` (empty: in a new one). `undone`: the session's head has moved, `text` is the message that was
    taken back. The others are for the face (see `agent.chatevents.Action`). `view` is shown in any case.
    """

    name: Literal["open", "undone", "copy", "theme", "quit", "resume"]
    text: str = ""
    view: View | None = None


Result = RunTurn | Said | Act


@dataclass(frozen=True, slots=True)
class CommandContext:
    """What a command may use. `busy`: the agent is in the middle of a turn."""

    session: Session
    emit: Emit
    busy: bool = False


@dataclass(frozen=True, slots=True)
class Command:
    """One command. `busy_ok`: may run while the agent works (for a verb of it, `busy_verbs`; where a word is not enough to tell,
    `busy_when`, asked with the argument). `complete` offers completions for the argument typed so far."""

    name: str
    summary: str
    run: Callable[[CommandContext, str], Awaitable[Result]]
    args_hint: str = ""
    busy_ok: bool = False
    busy_verbs: frozenset[str] = frozenset()
    complete: Callable[[str], Iterable[str]] = lambda _typed: ()
    busy_when: Callable[[str], bool] = lambda _args: False

    def may_run_busy(self, args: str) -> bool:
        """Whether it may run now, while the agent is busy."""
        verb = args.split(maxsplit=1)[0] if args.strip() else ""
        return self.busy_ok or verb in self.busy_verbs or self.busy_when(args.strip())


class CommandTable:
    """All commands by name. `later` brings more, when the table is looked at: a prompt that is no command never needs them."""

    def __init__(
        self, commands: Iterable[Command] = (), *, later: Callable[[], Iterable[Command]] | None = None
    ) -> None:
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
        if word in self.commands:
            return self.commands[word], args.strip()
        if not word or not word.replace("-", "").replace("_", "").isalnum():
            return None
        import difflib

        near = difflib.get_close_matches(word, self.commands, n=1, cutoff=0.5)
        raise UsageError(
            f"there is no command /{word}",
            remedy=f"did you mean /{near[0]}?"
            if near
            else "commands: " + ", ".join(f"/{name}" for name in self.commands),
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
        return await command.run(context, args)
