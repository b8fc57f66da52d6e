"""The goal of a session as it stands: what the hooks and the verbs of `/goal` share."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from agent.plugin import Plugin

if TYPE_CHECKING:
    from agent.goal.budget import Spent
    from agent.goal.judge import Bench
    from agent.goal.settings import Settings
    from agent.goal.state import GoalState
    from agent.goal.watch import TurnWatch
    from agent.llm.request import ModelRef
    from agent.plugin import PluginHost, TurnState

NAME = "goal"


class Pursuit(Plugin):
    """One goal a session. `state` is None where there is none; every change of it goes to the session at once. The hooks are
    `agent.goal.plugin.Goal`."""

    name = NAME

    def __init__(self, host: PluginHost) -> None:
        self.host = host
        self.state: GoalState | None = None
        self.waits_until: float | None = None
        self.watch: TurnWatch | None = None
        self.turn: TurnState | None = None
        self.model: ModelRef | None = None
        self.bench: Bench | None = None
        self._settings: Settings | None = None
        self.since = 0.0
        """When the turn under way began (Unix seconds); 0 where none does."""
        if host.settings:
            _ = self.settings  # a wrong one is told at the start
        if kept := host.session.get_state(NAME):
            from agent.goal.state import load

            self.state = load(kept)

    @property
    def settings(self) -> Settings:
        """The `[goal]` section."""
        if self._settings is None:
            from agent.goal import settings

            self._settings = settings.read(self.host.settings, self.host.config_file)
        return self._settings

    def set(self, state: GoalState | None) -> None:
        """Change the goal, on the disk too; None takes it away. What was to follow the present turn is taken back unless it goes on."""
        self.state = state
        self.host.session.set_state(NAME, state.as_json() if state else {})
        if (state is None or not state.active) and self.turn is not None:
            self.turn.withdraw()

    def total(self) -> Spent:
        """All that the goal has taken, the turn under way included: the ledger's own sums."""
        from agent.goal.budget import Spent

        if self.state is None:
            return Spent()
        spent = self.state.spent
        if self.state.turn:
            books = self.host.ledger.sums(turn=self.state.turn)[0]
            spent += Spent(0, 0.0, books.usage.total, books.total.nano, books.total.unknown)
        if self.since:
            spent += Spent(seconds=time.time() - self.since)
        return spent
