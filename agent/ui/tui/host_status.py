"""What the status line is told of a host: plain values, read when something may have changed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.events import Cost
from agent.llm.money import NANO
from agent.loop.window import measure

if TYPE_CHECKING:
    from agent.host import Host


def glance(host: Host) -> dict[str, Any]:
    """Model, what sandbox and plugins say of themselves, mode of approval, folder, and the model's window."""
    agent = host.agent
    window = None if host.model_error else agent.client.facts(agent.model).context_window
    return {
        "model": "no model" if host.model_error else agent.model_name,
        "effort": agent.effort or "",
        "plugins": host.status(),
        "mode": agent.tools.approvals.mode,
        "cwd": _short(agent.tools.context.cwd),
        "window": window,
    }


def _short(folder: Path) -> str:
    """A folder as people write it."""
    home = Path.home()
    return f"~/{folder.relative_to(home)}".removesuffix("/.") if folder.is_relative_to(home) else str(folder)


def spent_before(host: Host) -> dict[str, Any]:
    """What an opened session has cost so far, and how much of the window the next call takes. Reads the ledger."""
    total = host.agent.ledger.total(session=host.agent.session.id)
    spent: dict[str, Any] = {"cost": Cost(usd=total.nano / NANO, lower_bound=total.lower_bound)}
    if host.agent.session.head is not None:
        spent["used"] = measure(host.agent).used
    return spent
