"""From Fusion's parameters to a panel: a preset that is made for one request, with what the request says and ours where it says nothing."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import TYPE_CHECKING

from moa.preset.preset import MAIN, Preset, Reference
from moa.serve.bodies import NAMED, is_name
from moa.serve.fusion.parameters import WEB_TOOLS, Fusion, invalid
from moa.store.reading import PANELS

if TYPE_CHECKING:
    from agent.llm.request import ModelRef

ROUTER = "openrouter"
"""The endpoint that a slug belongs to, unless it begins with the name of another."""
QUALITY, FLASH = "quality", "fast"
CALL_S = 300.0
"""A member's hard limit. Fusion waits for all of its panel."""
RECURSIVE = "a panel's member can't be a panel itself"


def model_ref(slug: str, endpoints: Collection[str], where: str) -> str:
    """ENDPOINT:MODEL of a slug: `~anthropic/claude-opus-latest` is OpenRouter's, `ollama:qwen3` that endpoint's. Raises UsageError for a
    model that is a panel itself."""
    if not is_name(slug):
        raise invalid(where, "names a model as none is called", NAMED)
    endpoint, colon, model = slug.partition(":")
    found = slug if colon and model and endpoint in endpoints else f"{ROUTER}:{slug}"
    if found.partition(":")[2].casefold().startswith(PANELS) or endpoint.casefold() == "moa":
        raise invalid(where, f"names {slug}, and {RECURSIVE}", "name its models instead")
    return found


def slug_of(model: str) -> str:
    """What a model is called on Fusion's wire: ours without the endpoint, where that is OpenRouter."""
    return model.removeprefix(f"{ROUTER}:")


def preset_for(
    fusion: Fusion,
    *,
    load: Callable[[str], Preset],
    endpoints: Collection[str],
    outer: ModelRef | None = None,
    tools: Collection[str] | None = None,
    where: str = "the request",
) -> Preset:
    """The panel that a request asks for.

    `load` gives a preset of the user's by name: the one that the request names, or `quality`, Fusion's default. `endpoints` are the names
    that can be called, `outer` is the model that calls the tool and analyses where nobody else is named (None, for Fusion's own model: the
    preset's main model, else its first member). `tools` are those that members can be given here (None: all of ours). Raises UsageError.
    """
    base = load(fusion.preset or QUALITY)
    given = _tools(fusion, tools, where)
    own = not fusion.analysis_models
    seats: tuple[Reference, ...] = (
        tuple(each for each in base.references if each.enabled)
        if own
        else tuple(
            Reference(model_ref(slug, endpoints, f"{where}.analysis_models[{at}]"))
            for at, slug in enumerate(fusion.analysis_models)
        )
    )
    members = tuple(
        replace(
            seat,
            role=None,  # a preset's roles are for advice
            tools=given,
            max_tool_calls=fusion.max_tool_calls,
            max_tokens=fusion.max_completion_tokens,
            reasoning=fusion.reasoning if "reasoning" in fusion.given else seat.reasoning,
            temperature=fusion.temperature if "temperature" in fusion.given else seat.temperature,
        )
        for seat in seats
    )
    analyst = _analyst(fusion, base, endpoints, outer, where)
    return replace(
        base,
        source=where,
        references=members,
        # The analyst's temperature is 0 whatever the request says of the panel's.
        aggregator=Reference(
            analyst,
            temperature=0.0,
            max_tokens=fusion.max_completion_tokens,
            reasoning=fusion.reasoning,
            max_tool_calls=fusion.max_tool_calls,
        ),
        fallback=None,
        deep=analyst,
        family="any",
        aggregate="analysis",
        layers=1,
        quorum=None,
        soft_s=CALL_S,
        timeout_s=CALL_S,
        answer_tokens=1,  # what the request (or Fusion's default) says is exact
        tools_at="always" if given else "never",
        excluded_domains=(*base.excluded_domains, *fusion.excluded_domains),
        allowed_domains=fusion.allowed_domains or base.allowed_domains,
        turn_usd=base.turn_usd if own else None,
        turn_tokens=base.turn_tokens if own else None,
    )


def _analyst(
    fusion: Fusion,
    base: Preset,
    endpoints: Collection[str],
    outer: ModelRef | None,
    where: str,
) -> str:
    if fusion.model is not None:
        return model_ref(fusion.model, endpoints, f"{where}.model")
    own = base.deep if base.deep != MAIN else base.main
    first = own or next(each.model for each in base.references if each.enabled)
    if fusion.preset is not None or outer is None:
        return first
    return str(outer)


def writer(fusion: Fusion, *, load: Callable[[str], Preset], endpoints: Collection[str]) -> str:
    """Who writes the answer where the request names `openrouter/fusion` as its model: ENDPOINT:MODEL of the analyst, or `main`."""
    return preset_for(fusion, load=load, endpoints=endpoints).deep


def _tools(fusion: Fusion, there: Collection[str] | None, where: str) -> tuple[str, ...]:
    """Fusion's default are both web tools, as far as there are any here; who names one gets that one or an error."""
    if fusion.tools is None:
        return tuple(tool for tool in WEB_TOOLS.values() if there is None or tool in there)
    for tool in fusion.tools:
        if there is not None and tool not in there:
            raise invalid(f"{where}.tools", f"names {tool}, which does not exist in this program", "leave it out")
    return fusion.tools
