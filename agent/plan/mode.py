"""Whether plan mode is on: it is the approvals' own mode, and what it was entered with."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agent.approval.approval import Approvals, Mode
    from agent.plugin import PluginHost


class PlanMode:
    """`named` is the panel that `/plan @NAME` asks on the plan (empty: the default one; None: only one that is armed anyway), `before` the
    mode that it was entered from."""

    def __init__(self, host: PluginHost) -> None:
        self.host = host
        self.named: str | None = None
        self.before: Mode = "ask"

    @property
    def approvals(self) -> Approvals:
        """Where the mode stands."""
        assert self.host.approvals is not None
        return self.host.approvals

    @property
    def on(self) -> bool:
        """Whether nothing may be changed until a plan is approved."""
        return self.host.approvals is not None and self.approvals.mode == "plan"

    def enter(self, named: str | None) -> None:
        """Turn plan mode on."""
        if not self.on:
            self.before = self.approvals.mode
        self.named = named
        self.approvals.mode = "plan"

    def leave(self, mode: Mode) -> None:
        """Turn it off."""
        self.approvals.mode, self.named = mode, None
