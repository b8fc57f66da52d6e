"""What an aggregator returns: its shape, how its JSON is read from whatever a model wrote, and how its quotes are checked.

The five first keys are OpenRouter Fusion's `FusionAnalysisResult` (its OpenAPI file); `next_steps`, `severity` and `evidence` are ours.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agent.llm.answers.loose_json import find_object, snake
from agent.text.numbers import plural
from moa.panel.grades import GRADES, Grade
from moa.panel.quoting import clean, defused

MIN_QUOTE_CHARS = 20
"""A shorter quote would be found in any text."""

_FUSION_KEYS = ("consensus", "contradictions", "partial_coverage", "unique_insights", "blind_spots")
_LISTS = (*_FUSION_KEYS, "next_steps")
_KEYS = (*_LISTS, "severity", "evidence")

UNATTRIBUTED = "unattributed"
"""Whose a point is where the aggregator names somebody who is on no panel."""
_LABEL = re.compile(r"\b[Aa]nswers?\s([A-Z](?:(?:,? and |,? or |, ?| ?/ ?| ?& ?)[A-Z])*)\b")


class EmptyAnalysis(ValueError):
    """JSON of the right kind with nothing in it."""


class Frozen(BaseModel):
    """A value that is read once from what a model wrote, and never changed."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class Stance(Frozen):
    """Who holds what."""

    model: str
    stance: str


class Contradiction(Frozen):
    """A topic on which the answers differ."""

    topic: str
    stances: list[Stance]


class PartialCoverage(Frozen):
    """A point that only some address."""

    models: list[str]
    point: str


class UniqueInsight(Frozen):
    """A point that one alone makes."""

    model: str
    insight: str


class Evidence(Frozen):
    """A quote from the answer `source` for the point of the analysis at `path` (`consensus[0]`, `contradictions[1].stances[0]`)."""

    path: str
    source: str
    quote: str


class Analysis(Frozen):
    """A comparison of the panel's answers. Models are called by label while it is blind, by name after `relabel`.

    `severity` is None where the aggregator did not say: then the highest of the answers' own grades holds.
    """

    consensus: list[str]
    contradictions: list[Contradiction]
    partial_coverage: list[PartialCoverage]
    unique_insights: list[UniqueInsight]
    blind_spots: list[str]
    next_steps: list[str] = Field(default_factory=list)
    severity: Grade | None = None
    evidence: list[Evidence] = Field(default_factory=list)

    def to_fusion(self) -> dict[str, Any]:
        """The five keys of Fusion's wire, without our additions."""
        return self.model_dump(mode="json", include=set(_FUSION_KEYS))

    def summary(self) -> str:
        """A few words for a status line: `3 points agreed, 1 contradiction`."""
        agreed, apart = len(self.consensus), len(self.contradictions)
        return f"{plural(agreed, 'point')} agreed, {plural(apart, 'contradiction')}"


class EvidenceCheck(NamedTuple):
    """A quote of the aggregator, looked up in its source. `reason` says why it is not verified; `path` is in canonical form."""

    path: str
    source: str
    quote: str
    verified: bool
    reason: str = ""


def json_schema(small: bool, labels: Sequence[str] = ()) -> dict[str, Any]:
    """The schema for an aggregator's answer, fit for strict modes: every key required, no others allowed.

    `labels` limits who may be named to these. `small` is for small local models: it bounds every list and string, because their answer
    is cut to invalid JSON where the schema allows more than fits into 400 tokens, asks for at least something, and leaves `evidence`
    out. The large form has no bounds, because some providers' strict modes refuse length keywords.
    """
    text: dict[str, Any] = {"type": "string", "minLength": 8, "maxLength": 32} if small else {"type": "string"}
    who: dict[str, Any] = {"type": "string", "enum": list(labels)} if labels else {"type": "string"}
    if small and not labels:
        who["maxLength"] = 10

    def many(item: dict[str, Any], least: int = 0, most: int = 1) -> dict[str, Any]:
        return {"type": "array", "items": item} | ({"minItems": least, "maxItems": most} if small else {})

    properties = {
        "consensus": many(text, least=1),
        "contradictions": many(_object(topic=text, stances=many(_object(model=who, stance=text), most=2))),
        # Small models have the least to say here, and seven texts of one character a token (digits) just fit.
        "partial_coverage": many(_object(models=many(who, most=2), point=text), most=0),
        "unique_insights": many(_object(model=who, insight=text)),
        "blind_spots": many(text),
        "next_steps": many(text, least=1),
        "severity": {"type": "string", "enum": list(GRADES)},
    }
    if not small:
        properties["evidence"] = many(_object(path={"type": "string"}, source=who, quote={"type": "string"}))
    return _object(**properties)


def read(text: str) -> Analysis:
    """The analysis in a model's text, however it is wrapped or broken. Raises ValueError with a reason that a model can act on."""
    return read_noting(text)[0]


def read_noting(text: str) -> tuple[Analysis, bool]:
    """Like `read`; the second value is True where the JSON was malformed or of another shape and had to be repaired.

    Taken as they are: think blocks, prose and fences around the object. Repaired: trailing commas, cut ends, camelCase keys, missing
    lists, a text where a list should be, stances as an object.
    """
    found, malformed = find_object(text, _KEYS)
    try:
        Analysis.model_validate(found, strict=True)
        repaired = malformed
    except ValidationError:
        repaired = True
    analysis = Analysis.model_validate(_shaped(found))
    if analysis.severity != "nothing" and not any(getattr(analysis, key) for key in _LISTS):
        raise EmptyAnalysis("every list in it was empty")
    return analysis, repaired


def from_record(found: Mapping[str, Any]) -> Analysis:
    """An analysis that was kept, by whatever version; what is of another shape is brought into it."""
    return Analysis.model_validate(_shaped(dict(found)))


def check_evidence(analysis: Analysis, sources: Mapping[str, str]) -> list[EvidenceCheck]:
    """Look up every quote in its source's text, word for word but for white space.

    Unverified are: a path that names no point of the analysis, an unknown source, a quote of fewer than 20 characters, a quote that
    the source does not contain.
    """
    texts = {name: " ".join(text.split()) for name, text in sources.items()}
    return [_checked(analysis, evidence, texts) for evidence in analysis.evidence]


def relabel(analysis: Analysis, names: Mapping[str, str]) -> tuple[Analysis, tuple[str, ...]]:
    """Put real names for neutral labels (`Answer A`): in the fields that name a model, and inside prose. Quotes stay verbatim.

    Who is named and is on no panel becomes `unattributed`; the second value says who that was, in order.
    """
    letters = {label.rsplit(" ", 1)[-1]: name for label, name in names.items()}
    strangers: dict[str, None] = {}

    def who(text: str) -> str:
        if text in names:
            return names[text]
        if text in names.values():
            return text
        bare = re.sub(r"(?i)^\W*(?:(?:answer|model|adviser|member)[\s_-]*)?", "", text).strip(" .:\"'")
        if bare.upper() in letters:
            return letters[bare.upper()]
        strangers[text or "nobody"] = None
        return UNATTRIBUTED

    def prose(text: str) -> str:
        def named(match: re.Match[str]) -> str:
            found = re.findall(r"\b[A-Z]\b", match[1])
            if not all(letter in letters for letter in found):
                return match[0]
            return re.sub(r"\b[A-Z]\b", lambda letter: letters[letter[0]], match[1])

        return _LABEL.sub(named, text)

    named = Analysis(
        consensus=[prose(point) for point in analysis.consensus],
        contradictions=[
            Contradiction(
                topic=prose(one.topic),
                stances=[Stance(model=who(held.model), stance=prose(held.stance)) for held in one.stances],
            )
            for one in analysis.contradictions
        ],
        partial_coverage=[
            PartialCoverage(models=[who(model) for model in one.models], point=prose(one.point))
            for one in analysis.partial_coverage
        ],
        unique_insights=[
            UniqueInsight(model=who(one.model), insight=prose(one.insight)) for one in analysis.unique_insights
        ],
        blind_spots=[prose(point) for point in analysis.blind_spots],
        next_steps=[prose(point) for point in analysis.next_steps],
        severity=analysis.severity,
        evidence=[Evidence(path=one.path, source=who(one.source), quote=one.quote) for one in analysis.evidence],
    )
    return named, tuple(strangers)


def _object(**properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _checked(analysis: Analysis, evidence: Evidence, texts: Mapping[str, str]) -> EvidenceCheck:
    path = _resolved(analysis, evidence.path)
    quote = " ".join(evidence.quote.split())
    reason = ""
    if path is None:
        reason = "its path names no point"
    elif evidence.source not in texts:
        reason = "its source is none of the answers"
    elif len(quote) < MIN_QUOTE_CHARS:
        reason = f"it is shorter than {MIN_QUOTE_CHARS} characters"
    elif quote not in texts[evidence.source]:
        reason = "its source does not say this"
    return EvidenceCheck(path or evidence.path, evidence.source, evidence.quote, not reason, reason)


def _resolved(analysis: Analysis, path: str) -> str | None:
    """The path in canonical form (`contradictions[0].stances[1]`), also from `$.a[0]`, `/a/0` or `a.0`; None where nothing is there."""
    steps = re.findall(r"[A-Za-z_]+|\d+", path)
    if len(steps) < 2 or steps[0] not in _LISTS:
        return None
    here: Any = analysis
    canonical = ""
    for step in steps:
        if isinstance(here, list):
            if not step.isdecimal() or len(step) > 6 or int(step) >= len(here):
                return None
            here = here[int(step)]
            canonical += f"[{int(step)}]"
        elif isinstance(here, Frozen) and step in type(here).model_fields:
            here = getattr(here, step)
            canonical += f".{step}" if canonical else step
        else:
            return None
    return canonical


# Shaping: each key's value as it should be, blank entries left out.


def _shaped(found: dict[str, Any]) -> dict[str, Any]:
    shaped: dict[str, Any] = {
        key: [point for item in _items(found.get(key)) if (point := _point(item))]
        for key in ("consensus", "blind_spots", "next_steps")
    }
    shaped["contradictions"] = [one for item in _items(found.get("contradictions")) if (one := _contradiction(item))]
    shaped["partial_coverage"] = [
        {"models": [name for model in _items(_get(item, "models", "model")) if (name := _text(model))], "point": point}
        for item in _items(found.get("partial_coverage"))
        if (point := _point(item))
    ]
    shaped["unique_insights"] = [
        {"model": _text(_get(item, "model", "source")), "insight": point}
        for item in _items(found.get("unique_insights"))
        if (point := _point(item))
    ]
    shaped["severity"] = _severity(found.get("severity"))
    shaped["evidence"] = [
        {"path": _text(_get(item, "path")), "source": _text(_get(item, "source", "model")), "quote": quote}
        for item in _items(found.get("evidence"))
        if (quote := _text(_get(item, "quote", "text")))
    ]
    return shaped


def _severity(value: Any) -> Grade | None:
    """The grade that a model wrote, however it spelled it; None for anything else."""
    word = re.sub(r"[^a-z]", "", _text(value).casefold())
    return next((grade for grade in GRADES if word in (grade, f"{grade}s")), None)


def _items(value: Any) -> list[Any]:
    if value is None or value == "":
        return []
    return value if isinstance(value, list) else [value]


def _get(item: Any, *keys: str) -> Any:
    if not isinstance(item, dict):
        return None
    return next((value for key, value in item.items() if snake(str(key)) in keys), None)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return defused(clean(value)).strip()
    return "" if value is None or isinstance(value, dict | list) else str(value)


def _point(item: Any) -> str:
    """A point's text, also where a model made an object of it; nothing where it only says that there is none."""
    if not isinstance(item, dict):
        text = _text(item)
        return "" if text.casefold().rstrip(".") in ("none", "n/a", "nothing") else text
    named = _get(item, "point", "insight", "topic", "text", "step", "description", "claim")
    return _text(named) or ": ".join(text for value in item.values() if (text := _text(value)))


def _contradiction(item: Any) -> dict[str, Any] | None:
    stances = _get(item, "stances", "positions")
    if isinstance(stances, dict):
        stances = [{"model": model, "stance": stance} for model, stance in stances.items()]
    held = [
        {"model": _text(_get(one, "model", "source")), "stance": stance}
        for one in _items(stances)
        if (stance := _text(_get(one, "stance", "position", "text")) or _text(one))
    ]
    topic = _text(_get(item, "topic", "point", "issue")) if isinstance(item, dict) else _text(item)
    return {"topic": topic, "stances": held} if topic or held else None
