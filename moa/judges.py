"""A preset's panel as judges of a goal: the core asks for them by the preset's name, and does the asking itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from agent.plugin import JudgeSeat

if TYPE_CHECKING:
    from agent.plugin import PluginHost

LEAST_TOKENS = 2_000
"""A member's limit is made for a paragraph of advice; a verdict needs room to think before it."""


def offer(host: PluginHost) -> None:
    """Put every preset's panel where `/goal judge PRESET` finds it."""
    host.registry.judges.add(
        lambda name: seats(name, host.config_dir, host.project_dir),
        lambda: names(host.config_dir, host.project_dir),
    )


def seats(name: str, config_dir: Path, project_dir: Path | None) -> Sequence[JudgeSeat] | None:
    """The members of a preset; None where there is no such preset. Raises UsageError for one that is wrong."""
    if name not in names(config_dir, project_dir):
        return None
    from moa.preset import load

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
        for member in preset.members
    ]


def names(config_dir: Path, project_dir: Path | None) -> list[str]:
    """The presets there are."""
    from moa import preset_files

    return sorted(preset_files.find(config_dir, project_dir))
