"""Which server tools a request offers its model: read from its `tools` and `plugins`, under the names that a model can call them by."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from moa.serve.fusion.parameters import Fields, Fusion, invalid, read_tool

Kind = Literal["fusion", "consult", "advisor"]

FUSION, CONSULT, ADVISOR, ANTHROPIC_ADVISOR = (
    "openrouter:fusion",
    "moa:consult",
    "openrouter:advisor",
    "advisor_20260301",
)
FUNCTIONS: Mapping[str, str] = {
    FUSION: "openrouter_fusion",
    CONSULT: "moa_consult",
    ADVISOR: "openrouter_advisor",
    ANTHROPIC_ADVISOR: "advisor",
}
"""What a model calls each server tool: names with a colon are none that providers take."""
KINDS: Mapping[str, Kind] = {FUSION: "fusion", CONSULT: "consult", ADVISOR: "advisor", ANTHROPIC_ADVISOR: "advisor"}

_DESCRIPTIONS: Mapping[Kind, str] = {
    "fusion": (
        "Asks a panel of other models the same prompt, and gives you their answers with a comparison: consensus, contradictions, what only some "
        "cover, unique insights, blind spots. Use it for research, critique, comparison, and where being wrong is costly; answer simple, tactical "
        "prompts yourself. One call at most. Write the final answer yourself; agreement makes a point likelier, not true."
    ),
    "consult": (
        "Asks a panel of other models for advice on a question, and gives you a comparison of what they say. They see the conversation so far. "
        "Use it for decisions that are costly to get wrong and when you are stuck; not for simple steps. The advice is unverified."
    ),
    "advisor": (
        "Asks an adviser for guidance before you commit to an approach, when you are stuck, and before you declare a task done. The advice is "
        "unverified, and you go on with the task yourself."
    ),
}


@dataclass(frozen=True, slots=True)
class Advisor:
    """What an advisor's entry says. `named` tells several apart. `model` is the vendor's and asked of nobody: the user's panel advises."""

    name: str = ""
    model: str = ""
    instructions: str = ""
    forward: bool = False
    max_uses: int | None = None
    max_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Offered:
    """One server tool of a request: its type, the name that the model calls it by, and what the request says of it."""

    type: str
    function: str
    fusion: Fusion = field(default_factory=Fusion)
    preset: str | None = None
    advisor: Advisor = field(default_factory=Advisor)

    @property
    def kind(self) -> Kind:
        """What is done when it is called."""
        return KINDS[self.type]

    @property
    def description(self) -> str:
        """What the model is told of it."""
        told = _DESCRIPTIONS[self.kind]
        return f"{told} Its part: {self.advisor.instructions[:300]}" if self.advisor.instructions else told

    @property
    def parameters(self) -> dict[str, Any]:
        """The schema of its arguments."""
        key = "question" if self.kind == "consult" else "prompt"
        if self.type == ANTHROPIC_ADVISOR:
            return {"type": "object", "properties": {}, "additionalProperties": False}
        about = {"type": "string", "description": "What you want to know, complete in itself."}
        return {"type": "object", "properties": {key: about}, "required": [key], "additionalProperties": False}


def is_server_tool(entry: Any) -> bool:
    """Whether an entry of `tools` is one that is executed here."""
    return isinstance(entry, Mapping) and str(entry.get("type")) in FUNCTIONS


def read_tools(
    tools: Any, *, plugin: Fusion | None = None, fused: bool = False, presets: Callable[[], Collection[str]] = tuple
) -> tuple[Offered, ...]:
    """The server tools of a request, in order. `fused`: its model is Fusion's own, which has the tool without being asked for it. `plugin`
    is its fusion plugin, `presets` the user's. Raises UsageError that names what is wrong."""
    entries = list(enumerate(tools)) if isinstance(tools, list) else []
    named = [(at, each) for at, each in entries if is_server_tool(each)]
    advisors = [at for at, each in named if KINDS[each["type"]] == "advisor" and each["type"] == ADVISOR]
    found: list[Offered] = []
    for at, each in named:
        where = f"tools[{at}]"
        kind = each["type"]
        if kind not in (ADVISOR,) and any(other.type == kind for other in found):
            raise invalid(where, f"is {kind} for the second time", "leave one of them out")
        if kind == FUSION:
            own = _parameters(each, where)
            fusion = read_tool(own, f"{where}.parameters")
            found.append(Offered(kind, FUNCTIONS[kind], fusion=fusion if plugin is None else fusion.over(plugin)))
        elif kind == CONSULT:
            found.append(Offered(kind, FUNCTIONS[kind], preset=_consult(each, where, presets)))
        elif kind == ADVISOR:
            advisor = _advisor(Fields(_parameters(each, where), f"{where}.parameters"))
            number = advisors.index(at)
            function = FUNCTIONS[kind] if len(advisors) == 1 or not advisor.name else f"{FUNCTIONS[kind]}__{number}"
            if any(other.function == function for other in found):
                raise invalid(f"{where}.parameters.name", "is missing", "of several advisors only one may have no name")
            found.append(Offered(kind, function, advisor=advisor))
        else:
            found.append(Offered(kind, FUNCTIONS[kind], advisor=_anthropic(Fields(each, where))))
    asked = plugin is not None and plugin.enabled
    if (fused or asked) and not any(each.type == FUSION for each in found):
        found.append(Offered(FUSION, FUNCTIONS[FUSION], fusion=plugin or Fusion()))
    return tuple(found)


def _parameters(entry: Mapping[str, Any], where: str) -> Any:
    fields = Fields(entry, where)
    fields.take("type")
    parameters = fields.take("parameters")
    fields.done()
    return parameters


def _consult(entry: Mapping[str, Any], where: str, presets: Callable[[], Collection[str]]) -> str | None:
    fields = Fields(_parameters(entry, where), f"{where}.parameters")
    preset = fields.text("preset")
    fields.done()
    if preset is not None and preset not in presets():
        raise fields.error("preset", f"is {preset!r}", f"there are {', '.join(sorted(presets()))}")
    return preset


def _advisor(fields: Fields) -> Advisor:
    """OpenRouter's. What only shapes the vendor's own call (its model, its tools, streaming) is checked, and decided by the panel here."""
    name = fields.text("name") or ""
    if name and not re.fullmatch(r"[\w .-]{1,64}", name):
        raise fields.error("name", f"is {name!r}", "use letters, digits, spaces, dots, - and _, at most 64")
    found = Advisor(
        name=name,
        model=fields.text("model") or "",
        instructions=fields.text("instructions") or "",
        forward=fields.flag("forward_transcript", False),
        max_tokens=fields.whole_or_none("max_completion_tokens", 1),
    )
    for key in ("reasoning", "tools", "stream"):
        fields.take(key)
    fields.number("temperature", 0, 2)
    fields.whole_or_none("max_tool_calls", 1, 16)
    fields.done()
    return found


def _anthropic(fields: Fields) -> Advisor:
    fields.take("type")
    if fields.text("name") != "advisor":
        raise fields.error("name", "is not advisor", 'write "name": "advisor"')
    found = Advisor(
        model=fields.text("model") or "",
        forward=True,
        max_uses=fields.whole_or_none("max_uses", 1),
        max_tokens=fields.whole_or_none("max_tokens", 1),
    )
    for key in ("allowed_callers", "cache_control", "caching", "defer_loading", "strict"):
        fields.take(key)
    fields.done()
    if not found.model:
        raise fields.error("model", "is missing", "name one, as the vendor wants it; the panel of this server advises")
    return found
