"""What presets are to the rest of the agent: judges of a goal, people to delegate to, and models that are more than one.

A sub-agent takes no counsel: it is one of the panel at work, not a panel (docs/decisions/0008-delegate-and-sandbox.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from agent.errors import UsageError
from agent.llm.request import ModelRef
from agent.plugin import JudgeSeat, Profile
from moa.preset.preset import FUSE
from moa.store.store import names

if TYPE_CHECKING:
    from moa.armed import Armed

LEAST_TOKENS = 2_000
"""A member's limit is made for a paragraph of advice; a verdict needs room to think before it."""


def make(moa: Armed) -> None:
    """Let the host find them."""
    registry = moa.host.registry
    registry.judges.add(lambda name: judges(moa, name), lambda: presets(moa))
    registry.profiles.add(lambda name: profile(moa, name), lambda: presets(moa))
    registry.models.add(moa.composed, lambda: (f"{FUSE}{name}" for name in presets(moa)))


def presets(moa: Armed) -> Iterable[str]:
    """The presets there are."""
    return names(config_dir=moa.host.config_dir, project_dir=moa.host.project_dir)


def judges(moa: Armed, name: str) -> Sequence[JudgeSeat] | None:
    """The members of a preset, for `/goal judge PRESET`; None where there is no such preset. Raises UsageError for one that is wrong."""
    if name not in presets(moa):
        return None
    preset = moa.load(name)
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
        for member in preset.resolved(moa.main()).members
    ]


def profile(moa: Armed, name: str) -> Profile | None:
    """Who a name means, or None where no preset has it. Raises UsageError for a preset that can't be read or a member it lacks."""
    word, slash, seat = name.partition("/")
    if ":" in word or word not in presets(moa):
        return None
    preset = moa.load(word)
    agreed = moa.armed == word
    if not slash and preset.main:
        return Profile(ModelRef.parse(preset.main), reasoning=preset.effort, agreed=agreed)
    for member in preset.resolved(moa.main()).members:
        if member.slot == (seat or "1"):
            reference = member.reference
            return Profile(member.model, reference.temperature, reference.reasoning, agreed)
    raise UsageError(
        f"the preset {word} has no member {seat}", remedy=f"its members are 1 to {len(preset.members)}", kind="profile"
    )
