"""A counsel in one line, from its record. The record is plain JSON that a plugin made: every key may be missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from agent.ui.tui.cells import money, one_line, span

State = Literal["good", "degraded", "failed", "replayed"]


class Summary(NamedTuple):
    """The line, what else must be said below it, and what kind of counsel it was."""

    line: str
    details: tuple[str, ...]
    state: State


def summary(data: Mapping[str, Any]) -> Summary:
    """`3 of 4 agreed on 5 points, 2 contradictions, $0.031, 8.2 s`, and who failed."""
    if data.get("trigger") == "replayed":
        return _replayed(data)
    failed = [item for item in _list(data, "failed") if isinstance(item, Mapping)]
    answered = data.get("answered") if isinstance(data.get("answered"), int) else 0
    asked = data.get("asked") if isinstance(data.get("asked"), int) else (answered or 0) + len(failed)
    parts = [_verdict(data, answered or 0, asked or 0), *_tail(data)]
    details = [f"{_who(item)} failed: {_text(item, 'message') or _text(item, 'kind')}" for item in failed]
    running = [_member(one_line(str(slot))) for slot in _list(data, "running")]
    if running:
        details.append(f"went on without {', '.join(running)}")
    details += _aggregator(data)
    details += [one_line(str(warning)) for warning in _list(data, "warnings")]
    if data.get("draft"):
        details.append("on a draft of the answer")
    state: State = "failed" if not answered else "degraded" if failed or running or _degraded(data) else "good"
    return Summary(", ".join(parts), tuple(details), state)


def _verdict(data: Mapping[str, Any], answered: int, asked: int) -> str:
    analysis = data.get("analysis")
    if not answered:
        return f"no advice: none of {asked} answered"
    if not isinstance(analysis, Mapping):
        return f"{answered} of {asked} answered ({_text(data, 'rung') or 'no analysis'})"
    agreed, against = len(_list(analysis, "consensus")), len(_list(analysis, "contradictions"))
    points = f"agreed on {agreed} {_plural(agreed, 'point')}" if agreed else "answered, no point in common"
    return f"{answered} of {asked} {points}" + (f", {against} {_plural(against, 'contradiction')}" if against else "")


def _tail(data: Mapping[str, Any]) -> list[str]:
    cost = data.get("cost")
    cost = cost if isinstance(cost, Mapping) else {}
    parts = [money(cost.get("usd"), cost.get("lower_bound"))]
    if isinstance(data.get("duration_s"), int | float):
        parts.append(span(data["duration_s"], exact=True))
    late = [_who(item) for item in _list(data, "late") if isinstance(item, Mapping)]
    if late:
        parts.append(f"late: {', '.join(late)}")
    age = data.get("age")
    if isinstance(age, int) and age > 0:
        parts.append(f"taken {age} {_plural(age, 'call')} before")
    return parts


def _replayed(data: Mapping[str, Any]) -> Summary:
    age = data.get("age")
    old = f", {age} {_plural(age, 'call')} old" if isinstance(age, int) else ""
    form = " as one line" if data.get("form") == "line" else ""
    return Summary(f"the last counsel again{form}{old}", (), "replayed")


def _aggregator(data: Mapping[str, Any]) -> list[str]:
    found = data.get("aggregator")
    if not isinstance(found, Mapping):
        return []
    error = found.get("error")
    if isinstance(error, Mapping):
        return [f"no analysis: {_text(error, 'message') or _text(error, 'kind')}"]
    return [f"the fallback aggregator {_text(found, 'model_served')} was used"] if found.get("fallback_used") else []


def _degraded(data: Mapping[str, Any]) -> bool:
    return bool(_aggregator(data))


def _list(data: Mapping[str, Any], key: str) -> Sequence[Any]:
    value = data.get(key)
    return value if isinstance(value, list | tuple) else ()


def _text(data: Mapping[str, Any], key: str) -> str:
    return one_line(str(data.get(key) or ""))


def _who(item: Mapping[str, Any]) -> str:
    """Who it is: the model, as people know it (without the endpoint), else the place on the panel."""
    model = _text(item, "model").partition(":")[2] or _text(item, "model")
    return model or _member(_text(item, "slot"))


def _member(slot: str) -> str:
    return f"member {slot}" if slot.isdigit() else slot or "?"


def _plural(number: int, word: str) -> str:
    return word if number == 1 else word + "s"
