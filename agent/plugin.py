"""What a plugin may offer, and the values its hooks receive. The loop knows plugins only through this page.

A plugin is a class with the hooks it wants, found through the entry-point group `agent.plugins`; the entry point names a callable
that takes a `PluginHost` and returns a `Plugin`.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import field
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol, TypeVar

from agent.llm.accounting import CallContext
from agent.values import dataclass

if TYPE_CHECKING:
    from pathlib import Path

    from agent.approval.approval import Approvals
    from agent.commands import Command
    from agent.config.domains import Domains
    from agent.events import Emit, ErrorInfo, Record, RecordLevel, TurnStatus
    from agent.forms import Ask
    from agent.ledger.book import Ledger
    from agent.llm.client import ModelClient
    from agent.llm.errors import ModelError
    from agent.llm.messages import Message, ToolCallPart
    from agent.llm.request import Effort, ModelRef, Request, ToolSpec
    from agent.llm.stream import Reply
    from agent.session.session import Session
    from agent.tools.base import Tool, ToolResult
    from agent.views import View

T = TypeVar("T")


class Ending(NamedTuple):
    """How a turn ends: a status of contracts.md, and the error where it is not `done`."""

    status: TurnStatus
    error: ErrorInfo | None = None


@dataclass(slots=True)
class TurnState:
    """One turn, as hooks see it. `options` are what the turn was started with, by plugin name (`/moa ask` puts its preset there).

    `ending` is there once the turn is over. `withdraw()` takes back what `next_turn` asked for, also while it is waited for.
    """

    session: Session
    turn: str
    run: str
    prompt: Message
    options: Mapping[str, Any]
    iteration: int = 0
    number: int = 1
    """Which turn of the conversation it is, from 1."""
    history: tuple[Message, ...] = ()
    reply: Message | None = None
    ending: Ending | None = None
    composed: str = ""
    """Under which name the main model was chosen, where that is more than one (see `ComposedModel`)."""
    withdraw: Callable[[], None] = lambda: None
    ask: Ask | None = None
    """Shows the user a form and waits for the answer; None where nobody could answer."""


@dataclass(frozen=True, slots=True)
class ModelCall:
    """A main-model call that is about to be made: who is asked, and with which tools.

    What it is asked is `turn.history`, the conversation; guidance is none of a plugin's business but its own. `context` is what side calls
    are to be charged under (same session, run, turn and caps; change purpose, slot and share). The call's own upper bound is reserved.
    """

    turn: TurnState
    model: ModelRef
    tools: tuple[ToolSpec, ...]
    context: CallContext
    iteration: int


@dataclass(frozen=True, slots=True)
class Contribution:
    """Guidance: a text that stands in this request and, at its place, in each later one. So it says absolutely where it belongs.

    `record` is kept in the session and shown in the result, whether or not there is text. `answers`: the model is to answer with this call,
    and may use no tool in it.
    """

    text: str | None
    record: Record | None = None
    answers: bool = False


@dataclass(frozen=True, slots=True)
class Continue:
    """Go on. `message` joins the history; `wait_until` is a time (Unix seconds) that is waited for first, and the user's own words end
    such a wait at once.

    `supersede` (`before_stop` alone) holds the reply back: where a message or guidance follows it becomes a draft and stays in the
    conversation as one; where nothing does, it is the answer after all.
    """

    message: Message | None = None
    supersede: bool = False
    wait_until: float | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A plugin's word on a tool call: refuse it, and what the model is told."""

    deny: str


class Disclosure(NamedTuple):
    """What the user is to see, once, before a line is sent: who will receive the conversation, and what that may cost.

    `command` is the slash command whose View tells it; `key` changes whenever it would have to be told anew; `off` is the command
    after which the line can be sent without (empty: there is none).
    """

    key: str
    command: str
    off: str = ""


class RecordLine(NamedTuple):
    """What a record says of itself: `line`, `level` and `group` of `events.Record`."""

    line: str
    level: RecordLevel = "info"
    group: str = ""


class Plugin:
    """Base class: every hook does nothing. `emit` puts an event into the turn's own stream, at any time while the hook runs."""

    name: str = ""
    records: tuple[str, ...] = ()
    """Kinds of `Record` that it makes; each is a list in the JSON result."""
    carries_over: bool = True
    """Whether its state goes along into a new conversation (`/clear`)."""

    def greeting(self) -> str | None:
        """What the user should know when a conversation is opened."""
        return None

    def commands(self) -> Sequence[Command]:
        """Slash commands."""
        return ()

    def tools(self) -> Sequence[Tool]:
        """Tools for the main model."""
        return ()

    def refuses(self) -> Mapping[str, str]:
        """Tools that may not run now, each with why, and how the user can allow it. They stay listed: the list never changes."""
        return {}

    def main_model(self) -> str | None:
        """ENDPOINT:MODEL that comes with how it was armed on the command line; `--model` beats it, it beats the config."""
        return None

    def main_effort(self) -> Effort | None:
        """How deep the main model is to think, as it comes with how it was armed on the command line; `--effort` beats it."""
        return None

    def status(self) -> str | None:
        """A few words for the status line."""
        return None

    def record_line(self, kind: str, data: Mapping[str, Any]) -> RecordLine | None:
        """The line of a record of its own that was kept without one (by an older version); None: it is not told."""
        return None

    def view(self, kind: str, data: Mapping[str, Any]) -> View | None:
        """A record of its own in full; None where there is nothing to see but its data."""
        return None

    def keep_in_summary(self) -> str | None:
        """What must stand, word for word, in the summary of a conversation that is compacted now (an active goal)."""
        return None

    async def before_compaction(self, session: Session, reason: str, emit: Emit) -> str | None:
        """Before the conversation is compacted (`reason`: threshold, overflow, command). A text refuses it, and says why; after an overflow
        it goes on all the same, because nothing else does."""
        return None

    def unattended(self) -> bool:
        """Whether it goes on by itself now, turn after turn, so that nobody may be watching what is run."""
        return False

    def disclosure(self, line: str) -> Disclosure | None:
        """What the user has to agree to before this line (a message or a command) is sent. Only faces that can ask do ask."""
        return None

    def advises(self) -> bool:
        """Whether it may give guidance before the next call of the main model: room for that is then set aside under the caps."""
        return overrides(self, "before_model")

    async def before_turn(self, turn: TurnState, emit: Emit) -> None:
        """A turn is about to begin; raise UsageError to refuse it."""

    async def before_model(self, call: ModelCall, emit: Emit) -> Contribution | None:
        """Before each call of the main model. Must not raise for a failure of its own: counsel never breaks a turn. BudgetReached, for
        a limit that the plugin keeps, ends the turn."""
        return None

    async def after_model(self, call: ModelCall, reply: Reply, emit: Emit) -> None:
        """After each call of the main model."""

    async def before_tool(self, turn: TurnState, call: ToolCallPart) -> Verdict | None:
        """Before a tool runs."""
        return None

    async def after_tool(self, turn: TurnState, call: ToolCallPart, result: ToolResult) -> None:
        """After a tool ran."""

    async def before_stop(self, turn: TurnState, context: CallContext, emit: Emit) -> Continue | None:
        """The model ended its turn with `turn.reply`."""
        return None

    async def model_failed(self, turn: TurnState, problem: ModelError, emit: Emit) -> Continue | None:
        """A call of the main model failed, after all retries of its own. Return Continue to make it again, perhaps later."""
        return None

    async def next_turn(
        self, turn: TurnState, ending: Ending, context: CallContext, emit: Emit
    ) -> Continue | Ending | None:
        """The turn is over, and how; not asked where the user stopped it.

        Continue: its message begins another turn, after everything that the user has to say. Ending: this is how it ends instead
        (`unmet`: the reply stands and is not what was wanted). A wait belongs to the turn that asks for it: stopping it stops the turn.
        """
        return None

    async def after_turn(self, turn: TurnState) -> None:
        """The turn is over, whatever happened (`turn.ending`); end what is still running."""


def overrides(plugin: Plugin, hook: str) -> bool:
    """True where the plugin has its own version of a hook."""
    return getattr(type(plugin), hook) is not getattr(Plugin, hook)


class JudgeSeat(NamedTuple):
    """One of several judges of a goal: who, with what brief, and how it is asked. Seconds; None leaves a setting out of the call."""

    label: str
    model: ModelRef
    role: str | None = None
    temperature: float | None = None
    reasoning: Effort | None = None
    max_tokens: int = 4_000
    timeout_s: float = 120.0


class Profile(NamedTuple):
    """Who may do a delegated task: a model, and how it is asked; None leaves a setting out of the call.

    `agreed`: the user has taken it up in this conversation and was told who then receives what, so that it needs no further word.
    """

    model: ModelRef
    temperature: float | None = None
    reasoning: Effort | None = None
    agreed: bool = False


class ComposedModel(NamedTuple):
    """A model that is more than one (`fuse/PRESET`): a plugin does its part before the `main` model answers (ENDPOINT:MODEL; None: the one
    that config.toml names), which thinks as deep as `effort` says (None: as without). `alone`: the command line says that the plugin does
    no part, so that at the start `main` answers by itself, unless the command line names this model, too."""

    name: str
    main: str | None = None
    effort: Effort | None = None
    alone: bool = False


class Offers(Generic[T]):
    """Things by name, from whoever has one of that name. Nothing is loaded before somebody asks for it."""

    def __init__(self) -> None:
        self._sources: list[tuple[Callable[[str], T | None], Callable[[], Iterable[str]]]] = []

    def add(self, find: Callable[[str], T | None], names: Callable[[], Iterable[str]]) -> None:
        """A source: `find` gives the thing of a name, or None where it has none (it may raise UsageError); `names` lists them."""
        self._sources.append((find, names))

    def find(self, name: str) -> T | None:
        """The first thing of that name, or None."""
        return next((found for find, _ in self._sources if (found := find(name)) is not None), None)

    def names(self) -> list[str]:
        """All names, for completion and for errors."""
        return sorted({name for _, names in self._sources for name in names()})


class Reviewed(NamedTuple):
    """What somebody says of a plan: for the user who decides, and as text for the model (empty: nothing to take up)."""

    view: View
    text: str = ""


Reviewer = Callable[[str | None, "Session", CallContext, "Emit"], Awaitable[Reviewed | None]]
"""`review(named, session, context, emit)` of the plan in the session's last reply. `named`: by whom the user wants it read (empty: by the
usual one; None: by nobody who would not be asked anyway). `context`: what its calls are charged under. None: it has nothing to do with it."""

MemberTools = Callable[[CallContext, "Domains | None"], Sequence["Tool"]]
"""Tools for one member: on whose account it works, and which sites its preset lets it reach."""


@dataclass(slots=True)
class Registry:
    """What the core asks plugins for by name, without knowing them: `judges` (panels of them) for /goal, `profiles` for delegate, `models`
    that are more than one."""

    judges: Offers[Sequence[JudgeSeat]] = field(default_factory=Offers)
    profiles: Offers[Profile] = field(default_factory=Offers)
    models: Offers[ComposedModel] = field(default_factory=Offers)
    member_tools: list[MemberTools] = field(default_factory=list)
    """Who has tools for panel members beside those that read files."""
    lookups: list[Callable[[], Sequence[str]]] = field(default_factory=list)
    """Who receives what members search for, in words."""
    reviewers: list[Reviewer] = field(default_factory=list)
    """Who reads a plan before the user decides on it."""


class MemberRunner(Protocol):
    """`run_member(request, context, tool_names, max_calls, on_event)`: a model call that may use read-only tools on the way.

    `on_event` is given the events of the model's stream, and those of the tools; `domains` are the sites that its preset lets it reach.
    """

    async def __call__(
        self,
        request: Request,
        context: CallContext,
        tools: Sequence[str],
        max_calls: int,
        on_event: Any = None,
        *,
        domains: Domains | None = None,
    ) -> Reply:
        """Make the call. Raises ModelError."""
        ...


async def _no_shell(_command: str, _timeout_s: float) -> ToolResult:
    from agent.tools.base import ToolError

    raise ToolError("there is no shell here")


@dataclass(frozen=True, slots=True)
class PluginHost:
    """What a plugin is given when it is built."""

    client: ModelClient
    ledger: Ledger
    settings: Mapping[str, Any]
    """Its section of config.toml, unread: the plugin checks it and names `config_file` in its errors."""
    config_file: Path
    main_model: str | None
    """ENDPOINT:MODEL as the command line or the config names it; the model of a call is in `ModelCall.request`."""
    single_model: str | None = field(default=None, kw_only=True)
    """The same as the config alone names it, and one model where `main_model` is more than one."""
    config_dir: Path
    state_dir: Path
    project_dir: Path | None
    """The project's `.moa` folder, where it is trusted; None otherwise."""
    registry: Registry
    run_member: MemberRunner
    options: Mapping[str, Any]
    """What the command line said to this plugin."""
    session: Session
    account: CallContext = CallContext("main")
    """Who pays for what a command asks outside a turn: session, run and the user's caps (change purpose, slot and share)."""
    cwd: Path | None = None
    """The folder that is worked in; None: the one that the program was started in."""
    env: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)
    """The environment that this agent was built for, which need not be the process's own."""
    member_tools: Callable[[], frozenset[str]] = lambda: frozenset({"read", "glob", "grep"})
    """The tools that `run_member` can give, once all plugins are built."""
    composed: Callable[[], str] = lambda: ""
    """The name under which the main model is chosen now, where that is more than one (see `ComposedModel`)."""
    run_shell: Callable[[str, float], Awaitable[ToolResult]] = _no_shell
    """`run_shell(command, timeout_s)`: a command of the user's own, run as the shell tool runs one but unasked. Raises ToolError."""
    denied: Callable[[Path], str | None] = lambda _path: None
    """Why a file is read by nobody but the user, where it is so (deny_paths, and what holds keys as often as not)."""
    approvals: Approvals | None = None
    """What may run without asking, and its mode."""
