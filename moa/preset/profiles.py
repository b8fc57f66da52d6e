"""Presets as people to delegate to: `PRESET` is its main model, or its first member where it names none; `PRESET/N` is member N.

A sub-agent takes no counsel: it is one of the panel at work, not a panel (docs/decisions/0008-delegate-and-sandbox.md).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from agent.errors import UsageError
from agent.llm.request import ModelRef
from agent.plugin import Profile
from moa.preset.store import names

if TYPE_CHECKING:
    from moa.plugin import Moa


def offer(plugin: Moa) -> None:
    """Let the host find them."""
    plugin.host.registry.profiles.add(lambda name: find(plugin, name), lambda: listed(plugin))


def find(plugin: Moa, name: str) -> Profile | None:
    """Who a name means, or None where no preset has it. Raises UsageError for a preset that can't be read or a member it lacks."""
    word, slash, seat = name.partition("/")
    if ":" in word or word not in listed(plugin):
        return None
    preset = plugin.load(word)
    agreed = plugin.armed == word
    if not slash and preset.main:
        return Profile(ModelRef.parse(preset.main), reasoning=preset.effort, agreed=agreed)
    for member in preset.resolved(plugin.main()).members:
        if member.slot == (seat or "1"):
            reference = member.reference
            return Profile(member.model, reference.temperature, reference.reasoning, agreed)
    raise UsageError(
        f"the preset {word} has no member {seat}", remedy=f"its members are 1 to {len(preset.members)}", kind="profile"
    )


def listed(plugin: Moa) -> Iterable[str]:
    """The presets there are."""
    return names(config_dir=plugin.host.config_dir, project_dir=plugin.host.project_dir)
