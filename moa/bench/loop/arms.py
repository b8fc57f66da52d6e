"""The arms of the agent's loop, by their names in contracts.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from agent.errors import UsageError
from agent.llm.messages import user
from agent.llm.request import ModelRef, Request
from moa import preflight
from moa.aggregate.methods import METHODS
from moa.bench.arms import Arm, ref_of
from moa.preset.cadence import Cadence
from moa.preset.preset import ref

if TYPE_CHECKING:
    from agent.llm.client import ModelClient
    from moa.preset.preset import Preset

MOST_STEPS = 30
"""Calls of the main model that a task may take."""
PROMPT_TOKENS, BRIEF_TOKENS, REPLY_TOKENS = 20_000, 8_000, 2_000
"""What a call of the loop is taken to have where a run is quoted."""
PLACEBOS = ("placebo:other", "placebo:shuffled")
NAMES = "solo, solo:ENDPOINT:MODEL, best, counsel:turn, counsel:iteration, counsel:signal, counsel:every:N, counsel:last, placebo:other, placebo:shuffled"


def parse(names: Sequence[str], *, main: ModelRef | None, preset: Preset | None) -> list[Arm]:
    """The arms of these names on tasks, in order, each once. `best` stands for each member as the main model. Raises UsageError.

    A placebo is one of the first arm with counsel: its cadence and, for `placebo:other`, its guidance on another task.
    """
    wanted = [name.strip() for name in names]
    of = next((name for name in wanted if name.startswith("counsel:")), None)
    if of is None and "placebo:other" in wanted:
        raise UsageError(
            "placebo:other gives the guidance of another task, and no arm takes any",
            remedy="name an arm with counsel before it, such as counsel:iteration",
        )
    found: dict[str, Arm] = {}
    for name in wanted:
        for arm in _arms(name, of, main, preset):
            found.setdefault(arm.name, arm)
    return list(found.values())


def _arms(name: str, of: str | None, main: ModelRef | None, preset: Preset | None) -> list[Arm]:
    kind, _colon, rest = name.partition(":")
    if kind == "solo" and rest:
        return [Arm(name, "loop", ref_of(rest))]
    if name in PLACEBOS or kind == "counsel" or name == "best":
        if preset is None:
            raise UsageError(f"the arm {name} needs a panel", remedy="name one with --preset")
        if name == "best":
            members = (preset.resolved(main) if main else preset).members
            return [Arm(f"solo:{model}", "loop", model) for model in dict.fromkeys(m.model for m in members)]
    if main is None:
        raise UsageError(f"the arm {name} needs a main model", remedy="name one with --model ENDPOINT:MODEL")
    if name == "solo":
        return [Arm(name, "loop", main, effort=preset.effort if preset else None)]
    cadence = _cadence((of or "counsel:iteration") if name in PLACEBOS else name)
    if cadence is None or preset is None:
        raise UsageError(f"there is no arm {name!r} on tasks that take several steps", remedy=f"use {NAMES}")
    given = of if name == "placebo:other" else None
    chosen = replace(preset, cadence=cadence)
    return [Arm(name, "loop", main, preset=chosen, effort=preset.effort, donor=given)]


def _cadence(name: str) -> Cadence | None:
    kind, _colon, rest = name.partition(":")
    if kind != "counsel":
        return None
    try:
        return Cadence.parse("iteration" if rest == "last" else rest)
    except ValueError:
        return None


def check(client: ModelClient, arm: Arm) -> None:
    """Whether the endpoints of an arm are there and can do what is asked. Raises UsageError, before anything is spent."""
    from agent.llm.models.families import family_of

    for model in models(arm):
        client.require_key(model.endpoint)
    endpoint = client.endpoint(arm.model.endpoint)
    if endpoint.answers:
        raise UsageError(
            f"the arm {arm.name} says nothing over stored answers: no stored answer works on a task",
            remedy="name a live main model with --model",
        )
    family = family_of(arm.model.model)
    bound = endpoint.dialect == "anthropic" or (family is not None and family.line.startswith("claude"))
    if arm.name == "counsel:last" and bound:
        raise UsageError(
            f"counsel:last takes earlier guidance out of the conversation, which {arm.model} may refuse: its thoughts are bound to it",
            remedy="leave this arm out, or name another main model",
        )


def models(arm: Arm) -> list[ModelRef]:
    """All models that an arm can ask."""
    counsel = (
        [] if arm.preset is None or arm.donor else [model for _key, model in preflight.models(arm.preset, arm.model)]
    )
    return list(dict.fromkeys([arm.model, *counsel]))


def requests(arm: Arm) -> list[tuple[Request, int]]:
    """Stand-ins for the calls that a task can take in an arm, and how many there are of each: nobody knows beforehand how long they are."""
    room = user("word " * PROMPT_TOKENS)
    calls = [(Request(arm.model, (room,), max_tokens=REPLY_TOKENS), MOST_STEPS)]
    if arm.preset is None or arm.donor:
        return calls
    counsels = 1 if arm.preset.cadence.kind == "turn" else MOST_STEPS
    members = arm.preset.resolved(arm.model).members
    calls += [(Request(each.model, (room,), max_tokens=each.reference.max_tokens), counsels) for each in members]
    if METHODS[arm.preset.aggregate].needs_model:
        named = arm.preset.aggregator.model
        comparer = ref(named, arm.model) if named else members[0].model
        calls.append((Request(comparer, (user("word " * BRIEF_TOKENS),), max_tokens=REPLY_TOKENS), counsels))
    return calls
