"""/effort: the main model's reasoning effort."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from agent.commands import Command, CommandContext, Result, Said
from agent.llm.models.effort import check, levels
from agent.llm.models.families import EFFORTS, family_of
from agent.loop.main_model import EFFORT, effort_remark
from agent.slash.arguments import completing, one_of, said
from agent.views import TableView

if TYPE_CHECKING:
    from agent.host import Host
    from agent.llm.request import Effort

DEFAULT = "default"
"""The word that takes a choice back: config.toml's level holds again, or the model's own."""


def commands(host: Host) -> tuple[Command, ...]:
    """The one command."""

    async def run(context: CommandContext, args: str) -> Result:
        return _set(host, context, args) if args else _look(host)

    return (
        Command(
            "effort",
            "show or set the main model's reasoning effort",
            run,
            args_hint=f"[{'|'.join((*EFFORTS, DEFAULT))}]",
            complete=completing((*EFFORTS, DEFAULT)),
        ),
    )


def _look(host: Host) -> Result:
    agent = host.agent
    taken = levels(agent.model.model, agent.client.facts(agent.model)) if agent.model.model else None
    rows = (
        ("effort", agent.effort or "the model's own default"),
        ("levels", "unknown" if taken is None else ", ".join(taken) or "none: it can't be set"),
    )
    return Said(
        TableView(columns=("", ""), rows=rows, note="/effort LEVEL changes it, /effort default takes that back")
    )


def _set(host: Host, context: CommandContext, args: str) -> Result:
    agent = host.agent
    word = one_of("effort", args.strip().lower(), (*EFFORTS, DEFAULT))
    level = host.config.effort if word == DEFAULT else cast("Effort", word)
    if agent.model.model:
        check(agent.model, level, agent.client.facts(agent.model))
    before, agent.effort = agent.effort, level
    if host.model_error is not None and host.model_error.kind == "effort":
        host.model_error = None
    context.session.set_state(EFFORT, {"effort": None if word == DEFAULT else word})
    lines = [f"From the next turn on: effort {level or 'as the model has it by default'}."]
    if text := effort_remark(agent.client, agent.model, level):
        lines.append(f"{text}.")
    elif before != level and context.session.head is not None:
        lines.append(_cost_of_change(host))
    return said("\n\n".join(lines))


def _cost_of_change(host: Host) -> str:
    """The level is part of what the vendors' caches compare (platform.claude.com, build-with-claude/effort-per-message;
    developers.openai.com, guides/keep-prefix-unchanged); of other models nobody knows."""
    from agent.loop.window import measure

    used = measure(host.agent).used
    reads = "reads" if family_of(host.agent.model.model) is not None else "may read"
    return f"The endpoint {reads} this conversation again at the next call: about {used:,} tokens that its cache does not have."
