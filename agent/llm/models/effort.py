"""How deep a model is told to think: which levels it takes, and what becomes of one that it does not take."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.llm.models.families import EFFORTS, family_of

if TYPE_CHECKING:
    from agent.llm.models.endpoint import ModelFacts
    from agent.llm.request import Effort, ModelRef

_COARSE: dict[Effort, Effort] = {"minimal": "low", "xhigh": "high", "max": "high"}


def levels(model: str, facts: ModelFacts | None = None) -> tuple[Effort, ...] | None:
    """The levels that a model takes, `none` among them where its thinking can be switched off; None where nobody knows.

    The endpoint's own list beats the table of families.
    """
    if facts is not None and facts.efforts is not None:
        return facts.efforts
    family = family_of(model)
    if family is None:
        return None
    off: tuple[Effort, ...] = () if family.off is None or "none" in family.levels else ("none",)
    return (*off, *family.levels)


def on_the_wire(effort: Effort | None, model: str, quirks: frozenset[str]) -> Effort | None:
    """The level to send, or None for none at all: it was not asked for, or the model refuses it. `none` asks for no thinking."""
    if effort is None or "no_reasoning" in quirks:
        return None
    if "coarse_effort" in quirks:
        effort = _COARSE.get(effort, effort)
    # OpenRouter takes every level for every model and finds the nearest one itself.
    taken = None if "reasoning_object" in quirks else levels(model)
    return effort if taken is None or effort in taken else None


def check(model: ModelRef, effort: Effort | None, facts: ModelFacts | None = None) -> None:
    """Raises UsageError for `none` on a model that always thinks."""
    taken = levels(model.model, facts) if effort == "none" else None
    if taken is None or "none" in taken:
        return
    from agent.errors import UsageError

    lowest = taken[0] if taken else "low"
    raise UsageError(
        f"{model} always thinks: its effort can't be none",
        remedy=f"take its lowest level, {lowest}, or another model",
        kind="effort",
    )


def remark(
    model: ModelRef, effort: Effort | None, quirks: frozenset[str], facts: ModelFacts | None = None
) -> str | None:
    """For people: that the model has no such level, and what happens instead; None where there is nothing to say."""
    if effort is None or on_the_wire(effort, model.model, quirks) == effort:
        return None
    instead = on_the_wire(effort, model.model, quirks)
    if instead is not None:
        return f"{model} has no level {effort}: {instead} is sent"
    taken = [level for level in EFFORTS if level in (levels(model.model, facts) or ())]
    if not [level for level in taken if level != "none"]:
        return f"the effort of {model} can't be set: nothing is sent"
    return f"{model} has no level {effort} (it has {', '.join(taken)}): nothing is sent, so its default applies"
