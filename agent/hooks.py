"""Running the plugins' hooks over one turn. A plugin that fails is named and passed over; the turn goes on without it."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import TYPE_CHECKING, TypeVar

from agent.errors import StateError, UsageError
from agent.events import Notice
from agent.llm.errors import BudgetReached, ModelError
from agent.plugin import Continue, Ending, Plugin, overrides

if TYPE_CHECKING:
    from agent.llm.accounting import CallContext
    from agent.plugin import Emit, ModelCall, TurnState

T = TypeVar("T")


class Hooks:
    """The hooks of `plugins` for the turn `state`, with its stream `emit`."""

    def __init__(self, plugins: Sequence[Plugin], state: TurnState, emit: Emit) -> None:
        self.plugins = plugins
        self._state = state
        self._emit = emit

    def those_with(self, hook: str) -> list[Plugin]:
        """The plugins that have something of their own to do there."""
        return [plugin for plugin in self.plugins if overrides(plugin, hook)]

    async def before_model(self, call: ModelCall) -> str | None:
        """All guidance for a call. What is to be kept of it is recorded and shown. Raises UsageError, StateError, BudgetReached."""
        texts = []
        for plugin in self.those_with("before_model"):
            found = await self._ask(plugin, "before_model", plugin.before_model(call, self._emit))
            if found is None:
                continue
            if found.record is not None:
                self._state.session.add_record(found.record, turn=self._state.turn, iteration=call.iteration)
                self._emit(found.record)
            if found.text:
                texts.append(found.text)
        return "\n\n".join(texts) or None

    async def before_stop(self, context: CallContext) -> Continue | None:
        """The first plugin's wish to go on. Raises UsageError, StateError."""
        for plugin in self.those_with("before_stop"):
            found = await self._ask(plugin, "before_stop", plugin.before_stop(self._state, context, self._emit))
            if found is not None:
                return found
        return None

    async def model_failed(self, problem: ModelError) -> Continue | None:
        """The first plugin's wish to make the call again. Raises UsageError, StateError."""
        for plugin in self.those_with("model_failed"):
            found = await self._ask(plugin, "model_failed", plugin.model_failed(self._state, problem, self._emit))
            if found is not None:
                return found
        return None

    async def next_turn(self, ending: Ending, context: CallContext) -> tuple[Ending, Continue | None]:
        """How the turn ends, and what begins the next one, where a plugin says so."""
        further: Continue | None = None
        for plugin in self.those_with("next_turn"):
            try:
                found = await plugin.next_turn(self._state, ending, context, self._emit)
            except Exception as problem:
                self._failed(plugin, "next_turn", problem)
                continue
            if isinstance(found, Ending):
                ending = found
            else:
                further = further or found
        return ending, further

    async def after_turn(self) -> None:
        """The turn is over."""
        for plugin in self.plugins:
            try:
                await plugin.after_turn(self._state)
            except Exception as problem:
                self._failed(plugin, "after_turn", problem)

    async def _ask(self, plugin: Plugin, hook: str, asked: Awaitable[T | None]) -> T | None:
        try:
            return await asked
        except (UsageError, StateError, BudgetReached):
            raise
        except Exception as problem:
            self._failed(plugin, hook, problem)
            return None

    def _failed(self, plugin: Plugin, hook: str, problem: Exception) -> None:
        text = f"the plugin {plugin.name} failed in {hook} ({type(problem).__name__}: {problem}); the turn goes on without it"
        self._emit(Notice(level="error", code="plugin_failed", text=text))
