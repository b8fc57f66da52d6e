"""`moa replay` and `moa diff`: what they answer."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from agent.admin import sessions as admin
from agent.admin.report import Report
from agent.errors import UsageError
from agent.text.numbers import span
from agent.views import StackView, TreeView

if TYPE_CHECKING:
    from agent.events import AgentEvent


def replay(arguments: argparse.Namespace) -> Report:
    """Judge a kept counsel anew. Raises UsageError."""
    import asyncio

    from moa.counsel.view import counsel_view
    from moa.replay import comparing, replaying, runs

    members: dict[str, str] = {}
    for text in arguments.member:
        slot, equals, model = text.partition("=")
        if not (slot and equals and model):
            raise UsageError(f"--member {text!r} is not SLOT=REF", remedy="--member 2=ENDPOINT:MODEL")
        members[slot] = model
    work = replaying.replay(
        arguments.run, aggregator=arguments.aggregator, members=members, budget_usd=arguments.budget, emit=_tell
    )
    done = asyncio.run(work)
    found = comparing.compare(runs.find(admin.configuration(), arguments.run), done)
    view = StackView(
        views=(
            TreeView(label=f"kept as {done.name}; moa diff {arguments.run} {done.name}"),
            counsel_view(done.data),
            comparing.view(found),
        )
    )
    return Report(view, {"run": done.name, "counsel": done.data, "diff": found.plain()}, ok=bool(done.record.answered))


def diff(arguments: argparse.Namespace) -> Report:
    """Two counsels side by side. Raises UsageError."""
    from moa.replay import comparing, runs

    config = admin.configuration()
    found = comparing.compare(runs.find(config, arguments.a), runs.find(config, arguments.b))
    return Report(comparing.view(found), found.plain())


def _tell(event: AgentEvent) -> None:
    from agent.events import Notice, SideFinished

    if isinstance(event, Notice):
        print(f"· {event.text}", file=sys.stderr)
    elif isinstance(event, SideFinished):
        print(
            f"· {event.id.rpartition('/')[2]} {event.outcome} ({span(event.duration_s, exact=True)})", file=sys.stderr
        )
