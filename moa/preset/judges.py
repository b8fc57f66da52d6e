"""A preset's panel as judges of a goal: the core asks for them by the preset's name, and does the asking itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from agent.plugin import JudgeSeat

if TYPE_CHECKING:
    from agent.llm.request import ModelRef
    from moa.plugin import Moa

LEAST_TOKENS = 2_000
"""A member's limit is made for a paragraph of advice; a verdict needs room to think before it."""


def offer(plugin: Moa) -> None:
    """Put every preset's panel where `/goal judge PRESET` finds it."""
    host = plugin.host
    host.registry.judges.add(
        lambda name: seats(name, host.config_dir, host.project_dir, plugin.main()),
        lambda: names(host.config_dir, host.project_dir),
    )


def seats(
    name: str, config_dir: Path, project_dir: Path | None, main: ModelRef | None = None
) -> Sequence[JudgeSeat] | None:
    """The members of a preset (`main` is the main model); None where there is no such preset. Raises UsageError for one that is wrong."""
    if name not in names(config_dir, project_dir):
        return None
    from moa.preset.store import load

    preset = load(name, config_dir=config_dir, project_dir=project_dir)
    return [
        JudgeSeat(
            label=member.label,
            model=member.model,
            role=member.reference.role,
            temperature=member.reference.temperature,
            reasoning=member.reference.reasoning,
            max_tokens=max(member.reference.max_tokens, LEAST_TOKENS),
            timeout_s=preset.timeout_s,
        )
        for member in preset.resolved(main).members
    ]


def names(config_dir: Path, project_dir: Path | None) -> list[str]:
    """The presets there are."""
    from moa.preset import store

    return sorted(store.find(config_dir, project_dir))
