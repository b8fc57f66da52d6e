"""Commands that look: /status, what holds now; /diff, what this conversation has changed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from agent.commands import Command, CommandContext, Result, Said
from agent.slash.arguments import nothing
from agent.text.numbers import plural
from agent.views import TableView, TreeView, View

if TYPE_CHECKING:
    from pathlib import Path

    from agent.host import Host


def commands(host: Host) -> tuple[Command, ...]:
    """The two of them. Looking is possible at any time."""

    async def status(context: CommandContext, args: str) -> Result:
        nothing("status", args)
        return Said(_status(host, context))

    async def diff(context: CommandContext, args: str) -> Result:
        nothing("diff", args)
        folder = host.config.paths.state / "snapshots" / context.session.id
        return Said(await asyncio.to_thread(_diff, folder, host.agent.tools.context.cwd))

    return (
        Command("status", "the current model, mode, folder and session", status, busy_ok=True),
        Command("diff", "what the agent's file tools have changed in this conversation", diff, busy_ok=True),
    )


def _status(host: Host, context: CommandContext) -> TableView:
    agent, session = host.agent, context.session
    from agent.llm.money import show_usd

    spent = agent.ledger.total(session=session.id)
    rows = [
        ("model", agent.model_name if host.model_error is None else f"none: {host.model_error.message}"),
        ("effort", agent.effort or "the model's own"),
        ("counsel and goal", " · ".join(host.status()) or "off"),
        ("approval mode", agent.tools.approvals.mode),
        ("folder", str(agent.tools.context.cwd)),
        ("session", session.id + (f" ({session.name})" if session.name else "")),
        ("spent here", show_usd(spent.nano, spent.lower_bound)),
    ]
    note = "/moa status, /context, /cost, /activity and moa doctor say more"
    return TableView(title="status", columns=("", ""), rows=tuple(rows), note=note)


def _diff(folder: Path, cwd: Path) -> View:
    """Blocking."""
    from agent.session.snapshots import Snapshots
    from agent.tools.lib.diffs import unified_diff

    changed = []
    for path, before in Snapshots(folder).originals().items():
        try:
            now = path.read_bytes()
        except OSError:
            now = None
        if now == before:
            continue
        name = path.relative_to(cwd).as_posix() if path.is_relative_to(cwd) else str(path)
        old, new = ((data or b"").decode("utf-8", "replace") for data in (before, now))
        body = unified_diff(old, new, name, created=before is None)
        lines = body.splitlines()
        added, removed = (sum(line[:1] == mark and line[:3] != mark * 3 for line in lines) for mark in "+-")
        what = "created" if before is None else "gone" if now is None else f"+{added} -{removed}"
        changed.append(TreeView(label=name, about=what, text=body, diff=True))
    if not changed:
        return TreeView(
            label="no file has been changed by the file tools (what commands change is not followed: git diff shows it)"
        )
    return TreeView(label=f"{plural(len(changed), 'file')} changed", children=tuple(changed))
