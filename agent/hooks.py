"""Asking plugins: every hook goes through here. A plugin that fails is named and passed over; the turn continues without it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from agent.errors import StateError, UsageError
from agent.events import Notice
from agent.llm.errors import BudgetReached, ModelError
from agent.plugin import Continue, Contribution, Ending, Plugin, Verdict, overrides

if TYPE_CHECKING:
    from agent.events import Emit
    from agent.llm.accounting import CallContext
    from agent.llm.messages import ToolCallPart
    from agent.llm.stream import Reply
    from agent.plugin import ModelCall, TurnState
    from agent.session.session import Session
    from agent.tools.base import ToolResult

T = TypeVar("T")

MEANT = (UsageError, StateError, BudgetReached)
"""What a hook may raise on purpose: it ends the turn, in order."""


class Given(NamedTuple):
    """What a plugin contributes to a call, and which plugin."""

    plugin: str
    contribution: Contribution


class Hooks:
    """The hooks of `plugins` for the turn `state`, with its stream `emit`."""

    def __init__(self, plugins: Sequence[Plugin], state: TurnState, emit: Emit) -> None:
        self.plugins = plugins
        self._state = state
        self._emit = emit

    @property
    def turn(self) -> str:
        """The turn's id."""
        return self._state.turn

    def those_with(self, hook: str) -> list[Plugin]:
        """The plugins that have something of their own to do there."""
        return [plugin for plugin in self.plugins if overrides(plugin, hook)]

    def advise(self) -> bool:
        """Whether a plugin may give guidance for the next call; one that can't say so may."""
        plugins = self.those_with("before_model")
        answers = ask_all(plugins, "advises", lambda plugin: plugin.advises())
        return len(answers) < len(plugins) or any(yes for _, yes in answers)

    async def before_turn(self) -> None:
        """A turn is about to begin. Raises UsageError where a plugin refuses it, StateError, BudgetReached."""
        for plugin in self.those_with("before_turn"):
            await self._ask(plugin, "before_turn", lambda plugin: plugin.before_turn(self._state, self._emit))

    async def before_model(self, call: ModelCall) -> list[Given]:
        """What plugins contribute to a call, in their order. Raises UsageError, StateError, BudgetReached."""
        given = []
        for plugin in self.those_with("before_model"):
            found = await self._ask(plugin, "before_model", lambda plugin: plugin.before_model(call, self._emit))
            if found is not None:
                given.append(Given(plugin.name, found))
        return given

    async def after_model(self, call: ModelCall, reply: Reply) -> None:
        """A call of the main model has ended. Raises UsageError, StateError, BudgetReached."""
        for plugin in self.those_with("after_model"):
            await self._ask(plugin, "after_model", lambda plugin: plugin.after_model(call, reply, self._emit))

    async def before_tool(self, call: ToolCallPart) -> Verdict | None:
        """The first plugin's word against a tool call. Raises UsageError, StateError, BudgetReached."""
        for plugin in self.those_with("before_tool"):
            verdict = await self._ask(plugin, "before_tool", lambda plugin: plugin.before_tool(self._state, call))
            if verdict is not None:
                return verdict
        return None

    async def after_tool(self, call: ToolCallPart, result: ToolResult) -> None:
        """A tool ran. Raises UsageError, StateError, BudgetReached."""
        for plugin in self.those_with("after_tool"):
            await self._ask(plugin, "after_tool", lambda plugin: plugin.after_tool(self._state, call, result))

    async def before_stop(self, context: CallContext) -> Continue | None:
        """The first plugin's wish to go on. Raises UsageError, StateError, BudgetReached."""
        for plugin in self.those_with("before_stop"):
            found = await self._ask(
                plugin, "before_stop", lambda plugin: plugin.before_stop(self._state, context, self._emit)
            )
            if found is not None:
                return found
        return None

    async def model_failed(self, problem: ModelError) -> Continue | None:
        """The first plugin's wish to make the call again. Raises UsageError, StateError, BudgetReached."""
        for plugin in self.those_with("model_failed"):
            found = await self._ask(
                plugin, "model_failed", lambda plugin: plugin.model_failed(self._state, problem, self._emit)
            )
            if found is not None:
                return found
        return None

    async def next_turn(self, ending: Ending, context: CallContext) -> tuple[Ending, Continue | None]:
        """How the turn ends, and what begins the next one, where a plugin says so."""
        further: Continue | None = None
        for plugin in self.those_with("next_turn"):
            found = await self._ask(plugin, "next_turn", partial(self._next_turn, ending, context), meant=())
            if isinstance(found, Ending):
                ending = found
            else:
                further = further or found
        return ending, further

    async def _next_turn(self, ending: Ending, context: CallContext, plugin: Plugin) -> Continue | Ending | None:
        return await plugin.next_turn(self._state, ending, context, self._emit)

    async def after_turn(self) -> None:
        """The turn is over."""
        for plugin in self.plugins:
            await self._ask(plugin, "after_turn", lambda plugin: plugin.after_turn(self._state), meant=())

    async def _ask(
        self,
        plugin: Plugin,
        hook: str,
        ask: Callable[[Plugin], Awaitable[T]],
        *,
        meant: tuple[type[Exception], ...] = MEANT,
    ) -> T | None:
        try:
            return await ask(plugin)
        except meant:
            raise
        except Exception as problem:
            text = f"{_named(plugin, hook, problem)}; the turn continues without it"
            self._emit(Notice(level="error", code="plugin_failed", text=text))
            return None


async def compaction_refused(plugins: Iterable[Plugin], session: Session, reason: str, emit: Emit) -> str | None:
    """The first plugin's word against compacting the conversation now; one that fails is named and passed over."""
    for plugin in plugins:
        if not overrides(plugin, "before_compaction"):
            continue
        try:
            if (why := await plugin.before_compaction(session, reason, emit)) is not None:
                return why
        except Exception as problem:
            text = f"{_named(plugin, 'before_compaction', problem)}; the compaction continues without it"
            emit(Notice(level="error", code="plugin_failed", text=text))
    return None


def ask_all(
    plugins: Iterable[Plugin], hook: str, ask: Callable[[Plugin], T], tell: Callable[[str], object] = lambda _text: None
) -> list[tuple[Plugin, T]]:
    """What plugins answer outside of a turn (`status`, `greeting` …); one that fails is passed over, and `tell` is given a line about it."""
    found = []
    for plugin in plugins:
        try:
            found.append((plugin, ask(plugin)))
        except Exception as problem:
            tell(_named(plugin, hook, problem))
    return found


def _named(plugin: Plugin, hook: str, problem: Exception) -> str:
    return f"the plugin {plugin.name} failed in {hook} ({type(problem).__name__}: {problem})"
