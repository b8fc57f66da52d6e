"""The schema of a preset's TOML file, and its checks.

It is read by hand, as config.toml is and for the same reason: building pydantic's models of it would cost every start several milliseconds.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, get_args

from agent.config.toml import Table, parse
from agent.errors import UsageError
from agent.llm.request import Effort, ModelRef
from agent.text.numbers import plural
from moa.aggregate.methods import METHODS
from moa.preset.cadence import Cadence
from moa.preset.preset import ANSWER_TOKENS, GUIDANCE_TOKENS, MAIN, AggregatorView, Preset, Reference, Severity

MAX_REFERENCES = 8
VERBS = {
    "on": "arm the preset: each turn begins with counsel",
    "off": "no counsel",
    "status": "what is armed, and what it would do now",
    "ask": "counsel for one question, whatever is armed",
    "show": "the last counsel in full, or the Nth",
    "again": "compare the last counsel's answers again",
    "quote": "what a counsel would cost, before it is taken",
    "cancel": "stop one member",
    "go": "continue with the answers so far",
    "tool": "may the model ask for counsel itself",
}
"""What may stand after /moa, and what it does."""
"""The words after `/moa` that do something; a preset can't have one of them as its name."""

# What a preset may not say, because only the user's config.toml may: where a model is and what opens it.
_ENDPOINT_KEYS = ("base_url", "url", "api_key", "api_key_env", "headers", "endpoints", "dialect")


def read(text: str, *, name: str, path: Path) -> Preset:
    """A preset from the text of its file. Raises UsageError that names file, key and remedy."""
    check_name(name, path)
    return _preset(Table(parse(text, path, kind="preset"), path), name)


def check_name(name: str, path: Path) -> None:
    """Raises UsageError for a name that a preset can't have."""
    if name in VERBS:
        raise UsageError(
            f"{path}: a preset can't be named {name!r}, because /moa {name} is a command",
            remedy="rename the file",
            kind="preset",
        )
    if (
        not name
        or not all(char.isalnum() or char in "-_." for char in name)
        or name.startswith((".", "-"))
        or len(name) > 100
    ):
        raise UsageError(
            f"{name[:200]!r} can't name a preset ({str(path)[:200]})",
            remedy="use letters, digits, - and _ (and no - first), at most 100",
            kind="preset",
        )


def _preset(top: Table, name: str) -> Preset:
    preset_main = _model(top, "main")
    cadence = top.text("cadence", "iteration") or ""
    try:
        when = Cadence.parse(cadence)
    except ValueError:
        raise top.error("cadence", f"is {cadence!r}", "use iteration, turn, every:N or signal") from None
    timeout = _above_zero(top, "timeout_s", 120.0)
    references = tuple(_reference(row, 2000) for row in top.rows("references"))
    aggregator = _aggregator(top.table("aggregator"))
    web, budget = top.table("web"), top.table("budget")
    preset = Preset(
        name=name,
        source=str(top.file),
        references=references,
        **aggregator,
        description=top.text("description", "") or "",
        main=preset_main,
        effort=_choice(top, "effort", None, get_args(Effort)),
        family=_choice(top, "family", "any", ("any", "other")),
        severity=_choice(top, "severity", "note", get_args(Severity)),
        guidance_tokens=top.integer("guidance_tokens", GUIDANCE_TOKENS) or 0,
        answer_tokens=top.integer("answer_tokens", ANSWER_TOKENS, least=1) or ANSWER_TOKENS,
        cadence=when,
        lookahead=top.flag("lookahead", False),
        aggregate=_choice(top, "aggregate", "analysis", tuple(METHODS)),
        layers=_between(top, "layers", 1, 1, 4),
        quorum=top.integer("quorum", least=1),
        grace_s=_within(top, "grace_s", 10.0, timeout),
        soft_s=_within(top, "soft_s", 30.0, timeout),
        timeout_s=timeout,
        seed=top.integer("seed", 7) or 0,
        tools_at=_choice(top, "tools_at", "never", ("never", "first", "always")),
        excluded_domains=web.texts("excluded_domains"),
        allowed_domains=web.texts("allowed_domains"),
        turn_usd=budget.number("turn_usd"),
        turn_tokens=budget.integer("turn_tokens"),
    )
    for table in (web, budget):
        _done(table)
    _done(top)
    _check(top, preset)
    return preset


def _check(top: Table, preset: Preset) -> None:
    """What holds between keys."""
    members = len(preset.members)
    if members == 0:
        raise top.error("references", "put nobody on the panel", "add a [[references]] table, or enable one")
    if members > MAX_REFERENCES:
        remedy = f"at most {MAX_REFERENCES}: take some out, set enabled = false, or lower a count"
        raise top.error("references", f"make {plural(members, 'member')} (counting count)", remedy)
    if preset.quorum is not None and preset.quorum > members:
        raise top.error(
            "quorum", f"is {preset.quorum}, but there are {plural(members, 'member')}", f"use at most {members}"
        )
    if METHODS[preset.aggregate].needs_model and not preset.aggregator.enabled:
        without = " or ".join(f'"{name}"' for name, method in METHODS.items() if not method.needs_model)
        problem = f'is false, but aggregate = "{preset.aggregate}" needs one'
        raise top.error("aggregator.enabled", problem, f"set aggregate = {without}, or enable it")
    if preset.family == "other" and any(reference.model == MAIN for reference in preset.references):
        raise top.error(
            "family", 'is "other", but a member is the main model itself', 'name another, or use family = "any"'
        )


def _reference(row: Table, max_tokens: int) -> Reference:
    model = _model_or_main(row, "model")
    if model is None:
        raise row.error("model", "is missing", 'add model = "ENDPOINT:MODEL", or "main"')
    return _seat(row, model, max_tokens)


def _aggregator(table: Table) -> dict[str, Any]:
    """The fields of a preset that its `[aggregator]` table fills."""
    model = _model_or_main(table, "model")
    found = {
        "fallback": _model_or_main(table, "fallback"),
        "deep": _model_or_main(table, "deep") or MAIN,
        "aggregator_view": _choice(table, "aggregator_view", "brief", get_args(AggregatorView)),
    }
    seat = _seat(table, model or "", 4000)
    if seat.count != 1:
        raise table.error("count", f"is {seat.count}, but there is one aggregator", "take the line out")
    if seat.tools:
        raise table.error("tools", "are not for the aggregator, which only compares", "give them to references")
    return {"aggregator": seat, **found}


@cache
def _looking() -> dict[str, bool]:
    """The host's own tools, each with whether it only looks. Which more there are for members is asked when a panel is armed."""
    from agent.tools.builtin import builtin_tools

    return {tool.spec.name: tool.read_only for tool in builtin_tools()}


def _seat(table: Table, model: str, max_tokens: int) -> Reference:
    temperature = table.number("temperature")
    if temperature is not None and temperature > 2:
        raise table.error("temperature", f"is {temperature:g}", "use a number from 0 to 2")
    tools = table.texts("tools")
    for tool in tools:
        if tool in (ours := _looking()) and not ours[tool]:
            only = ", ".join(name for name, looks in ours.items() if looks)
            raise table.error(
                "tools", f"names {tool!r}, which does more than look", f"use {only}, web_search or web_fetch"
            )
    seat = Reference(
        model=model,
        role=table.text("role"),
        count=_between(table, "count", 1, 1, MAX_REFERENCES),
        temperature=temperature,
        reasoning=table.text("reasoning", choices=get_args(Effort)),  # type: ignore[arg-type]
        max_tokens=table.integer("max_tokens", max_tokens, least=1) or max_tokens,
        tools=tools,
        max_tool_calls=_between(table, "max_tool_calls", 4, 1, 16),
        enabled=table.flag("enabled", True),
    )
    _done(table)
    return seat


PANELS = ("moa/", "fuse/", "openrouter/fusion")
"""How models begin that are panels themselves, in any case: endpoints compare names in their own way."""


def _model_or_main(table: Table, key: str) -> str | None:
    if table.data.get(key) == MAIN:
        table.asked.add(key)
        return MAIN
    return _model(table, key)


def _model(table: Table, key: str) -> str | None:
    text = table.text(key)
    if text is None:
        return None
    try:
        model = ModelRef.parse(text)
    except ValueError as error:
        raise table.error(key, f"is not a model: {error}", "write ENDPOINT:MODEL") from None
    if model.endpoint.casefold() == "moa" or model.model.casefold().startswith(PANELS):
        # Such a model is itself a panel: it would fan out again, and make calls that no preset names.
        problem = f"is {text}, a panel itself, and a panel in a panel is recursive"
        raise table.error(key, problem, "name its models instead")
    return text


def _done(table: Table) -> None:
    for key in table.data:
        if key in _ENDPOINT_KEYS and key not in table.asked:
            remedy = (
                "where a model is and which key opens it is the user's to say, in config.toml under [endpoints.NAME]"
            )
            raise table.error(key, "is not for a preset", remedy)
    table.done()


def _choice(table: Table, key: str, default: str | None, choices: tuple[str, ...]) -> Any:
    return table.text(key, default, choices=choices)


def _between(table: Table, key: str, default: int, least: int, most: int) -> int:
    return table.integer(key, default, least=least, most=most) or default


def _above_zero(table: Table, key: str, default: float) -> float:
    value = table.number(key, default)
    if not value:
        raise table.error(key, f"is {value!r}", "use a number of seconds above 0")
    return value


def _within(table: Table, key: str, default: float, timeout: float) -> float:
    """A time that may not be longer than `timeout_s`. A default that is longer is no contradiction: it never comes to bear."""
    value = table.number(key, default)
    seconds = default if value is None else value
    if key in table.data and seconds > timeout:
        problem = f"is {seconds:g} s, longer than timeout_s ({timeout:g} s)"
        raise table.error(key, problem, "lower it, or raise timeout_s")
    return seconds
