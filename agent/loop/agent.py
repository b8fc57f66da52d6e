"""What a turn needs, put together once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import field, replace
from typing import TYPE_CHECKING, Any, Protocol

from agent.context.opening import keep_tools, late_tools, list_tools
from agent.hooks import ask_all
from agent.outgoing import Redaction
from agent.plugin import ComposedModel, Offers
from agent.values import dataclass

if TYPE_CHECKING:
    from agent.context.opening import Opening
    from agent.events import Emit, ErrorInfo
    from agent.ledger.book import Ledger
    from agent.llm.accounting import Cap
    from agent.llm.client import ModelClient
    from agent.llm.messages import Message
    from agent.llm.request import Effort, ModelRef
    from agent.loop.tool_runner import ToolRunner
    from agent.plugin import Plugin
    from agent.session.session import Session


def _crashed(error: BaseException) -> ErrorInfo:
    from agent.loop.crash import crashed

    return crashed(error, None)


class LateTools(Protocol):
    """Who has tools that are found only while a conversation runs."""

    async def before_request(self, emit: Emit) -> None:
        """Before a turn's first request; `emit` is the turn's stream."""

    def turn_over(self) -> None:
        """The turn's stream is closed."""


@dataclass(slots=True)
class Agent:
    """What a turn needs: built once by `agent.build`, used by every face."""

    client: ModelClient
    ledger: Ledger
    session: Session
    model: ModelRef
    tools: ToolRunner
    opening: Opening
    """Opens a new conversation, and tells one that goes on what has changed."""
    plugins: Sequence[Plugin] = ()
    run: str = ""
    account: str = ""
    """The session under which the ledger has its calls; empty: its own."""
    caps: tuple[Cap, ...] = ()
    max_iterations: int = 90
    max_tokens: int = 16_000
    compact_at: float = 0.8
    """How full the window may be before the conversation is compacted (`agent.loop.compaction.compact`); 1: not before it overflows."""
    compact_model: ModelRef | None = None
    """Who sums it up; None: the main model."""
    redaction: Redaction = Redaction()
    """Takes configured keys out of what a turn tells."""
    composed: str = ""
    """The name under which `model` was chosen, where that is more than one model; empty otherwise."""
    models: Offers[ComposedModel] = field(default_factory=Offers)
    """The models that are more than one."""
    effort: Effort | None = None
    """How deep the main model thinks; None: its own default."""
    late_tools: LateTools | None = None
    """Who has tools that come late (foreign MCP servers); None where nobody has."""
    left: tuple[str, ...] = ()
    """Why thoughts were left behind in the last request (see `agent.llm.binding`)."""
    crashed: Callable[[BaseException], ErrorInfo] = _crashed
    """Keeps the traceback of a mistake of ours and says what to tell the user (`agent.loop.crash`)."""

    @property
    def books(self) -> str:
        """The session under which the ledger has its calls."""
        return self.account or self.session.id

    @property
    def model_name(self) -> str:
        """What the main model is called in front of people."""
        return self.composed or str(self.model)

    def begin(self, message: Message, *, turn: str | None = None) -> list[str]:
        """Add what the user says next (`turn`: it begins that turn), behind what must stand before it. Returns news, in words.

        A new conversation is opened: system text, tools, and what the endpoint's wire looks like are settled for all of its requests. One
        that goes on keeps them, to the byte, and is told what has changed.
        """
        session, news = self.session, self.adopt_tools()
        readings: list[Message] = []
        if session.head is None:
            news = []
            session.note("opened", cwd=str(self.tools.context.cwd), model=str(self.model))
            self.tools.listed = ()
            for name in ("quirks", "aliases"):
                session.keep(name, {})
            session.add(self.opening.system(), told=self.opening.circumstances())
            readings = self.opening.readings()
        else:
            self._tell_changes(session)
        self.tools.listed = self.tools.specs  # what joins from now on joins no request of this turn
        keep_tools(session, self.tools.listed)
        session.add(message, turn=turn)
        for reading in readings:
            session.add(reading)
        return news

    def _tell_changes(self, session: Session) -> None:
        """What has changed since the model was told, and the tools that came late, where its endpoint takes them in the middle."""
        told, joining = session.told(), self._joining(session)
        if joining:  # they come with the word on their server, which a compaction may have taken away with them
            told = {name: value for name, value in told.items() if name != "servers"}
        if changed := self.opening.changes(told):
            notice, now = changed
            session.add(replace(notice, extra={"tools": joining}) if joining else notice, told=now)

    def _joining(self, session: Session) -> list[dict[str, Any]]:
        tools = [tool.spec for tool in self.tools.tools.values() if tool.from_server]
        late = late_tools(session, tools) if tools else []
        quirks = self._quirks(session) if late else frozenset[str]()
        return late if "tool_addition" in quirks and "no_tool_addition" not in quirks else []

    def _quirks(self, session: Session) -> frozenset[str]:
        """The endpoint's, as this conversation has known them, or as they are known now."""
        kept = (session.kept("quirks") or {}).get(str(self.model))
        if kept is not None:
            return frozenset(kept)
        return self.client.quirks(self.client.endpoint(self.model.endpoint), self.model.model)

    def adopt_tools(self) -> list[str]:
        """List the tools as the session's requests have them. Returns what is new in the list, in words."""
        if self.session.head is None:
            return []
        # A foreign tool that came after the conversation began joins no list: another one reaches it.
        kept = {each.get("name") for each in (self.session.kept("tools") or {}).get("list", ())}
        own = tuple(tool.spec for name, tool in self.tools.tools.items() if name in kept or not tool.from_server)
        self.tools.listed, news = list_tools(self.session, own)
        return news


def refused_now(agent: Agent) -> dict[str, str]:
    """The tools that may not run now, each with why, and how the user can allow it."""
    tools = agent.tools
    refused: dict[str, str] = {}
    if tools.approvals.mode == "deny":
        why = "only tools that look may run (the user can allow more with --approve, or /approve in the chat)"
        refused = {name: why for name, tool in tools.tools.items() if not tool.read_only or tool.reaches_out}
    elif tools.approvals.mode == "plan":
        why = "nothing is changed until the user has approved a plan"
        refused = {name: why for name, tool in tools.tools.items() if not tool.read_only}
    for _, found in ask_all(agent.plugins, "refuses", lambda plugin: plugin.refuses()):
        refused.update(found)
    return refused
