"""What a tool is, and what it is given when it runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Protocol

from agent.files.deny_paths import denial
from agent.files.in_use import in_use
from agent.llm.request import ToolSpec
from agent.text.encodable import whole
from agent.values import dataclass

if TYPE_CHECKING:
    from agent.events import AgentEvent
    from agent.files.deny_paths import DenyPaths
    from agent.llm.messages import ToolCallPart
    from agent.process.leftovers import RunningCommands
    from agent.sandbox.sandbox import Sandbox


Kind = Literal["read", "search", "edit", "execute", "fetch", "think", "other"]


LONGEST = 4_096
"""Bytes of a path, as for the system."""


class Place(NamedTuple):
    """A path of a call: as the model wrote it, where it led when it was decided about (absolute, links followed), and, where the user
    was shown a change of it, the digest of its content then (empty: nothing was there)."""

    asked: str
    path: Path
    shown: str | None = None

    def name(self, cwd: Path) -> Path:
        """The path as it was asked for, absolute, no link followed."""
        return Path(os.path.abspath(cwd / os.path.expanduser(self.asked)))  # noqa: PTH100, PTH111


class ToolError(Exception):
    """The tool could not do it. The message goes to the model, which can do something about it."""


@dataclass(frozen=True, slots=True)
class ToolResult:
    """`text` goes to the model; `diff` (unified) and `full_output` are for the user.

    `is_error`: it did not come out as it was meant to. `exit_code`: what a command ended with by itself, so that it ran, whatever it says.
    `may_change` and `change` are what the tool says of the call (see Tool); whoever runs it sets them.
    """

    text: str
    is_error: bool = False
    exit_code: int | None = None
    diff: str | None = None
    full_output: Path | None = None
    may_change: bool = True
    change: Change | None = None

    @property
    def could_not_run(self) -> bool:
        """Whether nothing came of it: refused, impossible, ended before its time. A command that exits with 1 has run and says so."""
        return self.is_error and self.exit_code is None


class ToolGuard(Protocol):
    """What stands around every tool call of every agent in here: the main model's, members' and sub-agents'."""

    async def before_tool(
        self, call: ToolCallPart, subject: Subject, context: ToolContext, emit: Callable[[AgentEvent], None]
    ) -> str | None:
        """A text refuses the call, and is what the model is told."""
        ...

    async def after_tool(
        self,
        call: ToolCallPart,
        subject: Subject,
        result: ToolResult,
        context: ToolContext,
        emit: Callable[[AgentEvent], None],
    ) -> str:
        """What is added to the result; empty: nothing."""
        ...


@dataclass(slots=True)
class ToolContext:
    """What tools share over a session.

    `seen` remembers, for each file that was read or written, a digest of what the model last saw, so that an edit of a file that
    has changed since is refused. `scratch` is a folder for outputs that are too long. `progress` shows output while a tool runs.
    """

    cwd: Path
    scratch: Path
    deny_paths: DenyPaths
    seen: dict[Path, str] = field(default_factory=dict)
    progress: Callable[[str], None] = lambda _text: None
    snapshot: Callable[[str, Path, bytes], None] = lambda _turn, _path, _data: None
    """Called with a turn, a path and what is about to be written there, so that an undo can restore it. Raises OSError."""
    turn: str = ""
    """The turn that the call belongs to; empty for a helper's and the user's own."""
    emit: Callable[[AgentEvent], None] = lambda _event: None
    """Puts an event into the stream of the turn."""
    running: RunningCommands | None = None
    """Where it is kept which commands run, for a start after a kill."""
    sandbox: Sandbox | None = None
    """What confines the commands of the shell tool, and file tools while nobody watches; None: nothing does (the user's own)."""
    redact: Callable[[str], str] = lambda text: text
    """Takes configured keys out of a text. Results go through it, whoever asked for them: a member or a sub-agent is at another endpoint."""
    allowed: Place | None = None
    """The place that this call was allowed for; `resolve` holds it to that."""
    guard: ToolGuard | None = None
    """Whoever is asked before and after each call; None: nobody."""
    seen_by_user: bool = False
    """The user has read this very call and allowed it."""

    def resolve(self, path: str, *, writes: bool = False) -> Path:
        """An argument as an absolute path, `~` and symlinks resolved.

        Raises ToolError for a denied one, for one that is not a path, and for one that is out of bounds while nobody watches.
        """
        try:
            asked, resolved = _led(self.cwd, path)
        except (OSError, RuntimeError, ValueError) as error:  # a loop of links, an unknown ~user, a NUL
            raise ToolError(f"{path[:200]!r} is not a usable path: {error}") from error
        if in_use(resolved):
            raise ToolError(f"{path} is this program's own ledger, which is open; `moa activity` says what is in it")
        if why := self.why_out_of_bounds(resolved, writes=writes):
            raise ToolError(f"{path} is out of bounds: {why}")
        # Before links are followed, too: a denied name stays denied wherever it leads.
        name = Path(os.path.abspath(asked))  # noqa: PTH100
        if pattern := self.deny_paths.match_name(name) or self.deny_paths.match_name(resolved):
            raise ToolError(denial(path, pattern))
        if self.allowed is not None and self.allowed.asked == path and self.allowed.path != resolved:
            raise ToolError(f"{path} leads elsewhere by now ({resolved}) than when it was allowed; nothing was done")
        return resolved

    def why_out_of_bounds(self, path: Path, *, writes: bool = False) -> str | None:
        """Why a path (absolute, links resolved) may not be touched while nobody watches; None where it may, or somebody does."""
        if self.sandbox is None:
            return None
        return self.sandbox.out_of_bounds(path, self.cwd, self.scratch, writes=writes)

    def show(self, path: Path) -> str:
        """A path as models and people are shown it: from the working folder where it lies inside, else absolute."""
        cwd = self.cwd.resolve()
        return whole(path.relative_to(cwd).as_posix() if path.is_relative_to(cwd) else str(path))


class Subject(NamedTuple):
    """What a call is about, as approval's rules and the user's hooks see it: whose call, and of which sort.

    `command`: `value` is a shell command. `change`, `look`, `path`: it is the path of a file whose text is changed, of one that is only
    looked at, or of one with which anything else is done. `page`: an address. `name`: what a rule names as it stands. `text`: any other
    text, or none. `arguments` are what a hook is told. `reveals`: what a failed change says of a file is a way to read it.
    """

    tool: str
    sort: Literal["command", "change", "look", "path", "page", "name", "text"]
    value: str | None
    arguments: Mapping[str, Any]
    reveals: bool = False

    @property
    def path(self) -> str | None:
        """The path that it is about, as it was asked for."""
        return self.value if self.sort in ("change", "look", "path") else None


class Change(NamedTuple):
    """What a call makes of a passage of a file. `before` None: the whole file is written."""

    path: str
    before: str | None
    after: str


class Tool:
    """One tool: a file of its own in this folder, a subclass of this.

    What a tool is, it says here, and nobody else knows its name. `run` takes arguments that were validated against `spec.parameters`,
    raises ToolError for what the model can mend, and must end its children when its task is cancelled.
    """

    kind: ClassVar[Kind] = "other"
    """How its calls are drawn."""
    from_server: ClassVar[bool] = False
    """It may come and go: a conversation that was begun without it does not list it."""
    of_session: ClassVar[bool] = False
    """It belongs to the conversation with the user: no sub-agent gets it."""

    @property
    def spec(self) -> ToolSpec:
        """As requests list it."""
        raise NotImplementedError

    @property
    def read_only(self) -> bool:
        """No call of it changes anything: its calls run in parallel and need no approval."""
        return False

    @property
    def reaches_out(self) -> bool:
        """It sends something of the conversation to somebody else: then it is asked about like a change, though it changes nothing."""
        return False

    def title(self, arguments: dict[str, Any]) -> str:
        """One line for people: what this call does."""
        raise NotImplementedError

    async def run(self, context: ToolContext, arguments: dict[str, Any]) -> ToolResult:
        """Do it."""
        raise NotImplementedError

    async def preview(self, context: ToolContext, arguments: dict[str, Any]) -> str | None:
        """The change that `run` would make, as a diff, without making it; None where it makes none. Raises ToolError."""
        return None

    def reads_only(self, arguments: dict[str, Any]) -> bool:
        """Whether this very call changes nothing and needs no approval."""
        return self.read_only

    def may_change(self, arguments: dict[str, Any]) -> bool:
        """Whether something may be different after this very call, by whomever it was approved."""
        return not self.reads_only(arguments)

    def named_by_user(self, arguments: dict[str, Any]) -> bool:
        """Whether the user's own words ask for this very call."""
        return False

    def subject(self, arguments: dict[str, Any]) -> Subject:
        """What approval's rules are held against."""
        path = arguments.get("path")
        if isinstance(path, str):
            return Subject(self.spec.name, "look" if self.read_only else "path", path, arguments)
        text = next((value for value in arguments.values() if isinstance(value, str)), None)
        return Subject(self.spec.name, "text", text, arguments)

    def change(self, arguments: dict[str, Any]) -> Change | None:
        """What this call makes of a file, so that it is noticed where the same is done and undone again and again."""
        return None

    def path(self, arguments: dict[str, Any]) -> str | None:
        """The file or folder that this call is about, as it was asked for; None where it is about none."""
        path = arguments.get("path")
        return path if isinstance(path, str) else None


def _led(cwd: Path, asked: str) -> tuple[Path, Path]:
    """A path as it was asked for, absolute, and where it leads. Raises OSError, RuntimeError or ValueError for what is none."""
    if len(os.fsencode(asked)) > LONGEST:  # each folder of it would be looked at
        raise ValueError(f"it is longer than {LONGEST:,} bytes")
    path = cwd / Path(asked).expanduser()
    return path, path.resolve()


def place_of(tool: Tool, arguments: dict[str, Any], cwd: Path) -> Place | None:
    """Where the path of a call leads; None where it has none, and for what is no path (the tool says so)."""
    asked = tool.path(arguments)
    if asked is None:
        return None
    try:
        return Place(asked, _led(cwd, asked)[1])
    except (OSError, RuntimeError, ValueError):
        return None
