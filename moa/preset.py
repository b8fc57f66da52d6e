"""A preset: who is on the panel, who aggregates, how often, how long, how much. The schema of a preset's TOML file, and its checks.

A preset names models as ENDPOINT:MODEL and nothing else: it has no key for an address, a header or a secret, so a preset (a project's
above all) can only use endpoints that the user's own configuration or environment has opened. It is read by hand, as config.toml is
and for the same reason: building pydantic's models of it would cost every start several milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from agent.errors import UsageError
from agent.llm.request import Effort, ModelRef
from agent.toml import Table
from moa.cadence import Cadence

MAX_REFERENCES = 8
VERBS = ("on", "off", "status", "ask", "show", "again", "quote", "cancel", "go", "tool")
"""The words after `/moa` that do something; a preset can't have one of them as its name."""

TOOLS = ("web_search", "web_fetch", "read", "glob", "grep")
"""What a member may be given: tools that only look."""

# What a preset may not say, because only the user's config.toml may: where a model is and what opens it.
_ENDPOINT_KEYS = ("base_url", "url", "api_key", "api_key_env", "headers", "endpoints", "dialect")

Aggregate = Literal["analysis", "raw", "vote"]


@dataclass(frozen=True, slots=True)
class Reference:
    """One `[[references]]` table, or what `[aggregator]` shares with it. `model` is ENDPOINT:MODEL, or `main` for the aggregator.

    `max_tokens` bounds the answer, reasoning included; its default leaves a reasoning model room to think before the 600 or so tokens
    of advice that it is asked for.
    """

    model: str
    role: str | None = None
    count: int = 1
    temperature: float | None = None
    reasoning: Effort | None = None
    max_tokens: int = 2000
    tools: tuple[str, ...] = ()
    max_tool_calls: int = 4
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class Member:
    """A seat on the panel: a reference with its slot (`1` to `8`)."""

    slot: str
    model: ModelRef
    reference: Reference

    @property
    def label(self) -> str:
        """For people: the slot and the model's own name."""
        return f"{self.slot} {self.model.model.rpartition('/')[2]}"


@dataclass(frozen=True)
class Preset:
    """A preset as its file says it. Times are seconds, money is US dollars. `name` and `source` come from where it was found.

    `fallback` is the aggregator's. `turn_usd` and `turn_tokens` are counsel's share of one turn.
    """

    name: str
    source: str
    references: tuple[Reference, ...]
    aggregator: Reference = Reference("main", max_tokens=4000)
    fallback: str | None = None
    description: str = ""
    main: str | None = None
    cadence: Cadence = Cadence("iteration")  # noqa: RUF009 - frozen
    lookahead: bool = False
    aggregate: Aggregate = "analysis"
    layers: int = 1
    quorum: int | None = None
    grace_s: float = 10.0
    soft_s: float = 30.0
    timeout_s: float = 120.0
    seed: int = 7
    tools_at: Literal["never", "first", "always"] = "first"
    excluded_domains: tuple[str, ...] = ()
    allowed_domains: tuple[str, ...] = ()
    turn_usd: float | None = None
    turn_tokens: int | None = None
    members: tuple[Member, ...] = field(init=False)
    """The seats: disabled references dropped, `count` written out, slots given in order."""

    def __post_init__(self) -> None:
        seats = [reference for reference in self.references if reference.enabled for _ in range(reference.count)]
        members = tuple(Member(str(n), ModelRef.parse(seat.model), seat) for n, seat in enumerate(seats, 1))
        object.__setattr__(self, "members", members)

    def aggregator_model(self, main: ModelRef) -> ModelRef:
        """Who compares the answers, where `main` is the model that acts."""
        return main if self.aggregator.model == "main" else ModelRef.parse(self.aggregator.model)

    def models(self, main: ModelRef | None) -> tuple[tuple[str, ModelRef], ...]:
        """Every model that counsel may call, as (key in the file, model). With `main` None an aggregator named `main` is left out."""
        named = [(f"references ({member.slot})", member.model) for member in self.members]
        if self.aggregate == "analysis":
            if self.aggregator.model != "main":
                named.append(("aggregator.model", ModelRef.parse(self.aggregator.model)))
            elif main is not None:
                named.append(("aggregator.model", main))
            if self.fallback:
                named.append(("aggregator.fallback", ModelRef.parse(self.fallback)))
        return tuple(named)


def load(name: str, *, config_dir: Path, project_dir: Path | None = None) -> Preset:
    """Find and read a preset: the user's, a trusted project's (its `.moa` folder, else None), or a shipped one.

    Raises UsageError that names file, key and remedy.
    """
    from moa.preset_files import locate, text_at

    path = locate(name, config_dir=config_dir, project_dir=project_dir).path
    return read(text_at(path), name=name, path=path)


def names(*, config_dir: Path, project_dir: Path | None = None) -> list[str]:
    """The names of all presets there are, usable or not, sorted."""
    from moa.preset_files import find

    return sorted(find(config_dir, project_dir))


def read(text: str, *, name: str, path: Path) -> Preset:
    """A preset from the text of its file. Raises UsageError that names file, key and remedy."""
    import tomllib

    check_name(name, path)
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: {error}", remedy="mend that line (TOML: https://toml.io)", kind="preset") from None
    return _preset(Table(data, path), name)


def check_name(name: str, path: Path) -> None:
    """Raises UsageError for a name that a preset can't have."""
    if name in VERBS:
        raise UsageError(
            f"{path}: a preset can't be named {name!r}, because /moa {name} is a command",
            remedy="rename the file",
            kind="preset",
        )
    if not name or not all(char.isalnum() or char in "-_." for char in name) or name.startswith((".", "-")):
        raise UsageError(
            f"{path}: {name!r} can't name a preset",
            remedy="use letters, digits, - and _ (and no - first)",
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
    aggregator, fallback = _aggregator(top.table("aggregator"))
    web, budget = top.table("web"), top.table("budget")
    preset = Preset(
        name=name,
        source=str(top.file),
        references=references,
        aggregator=aggregator,
        fallback=fallback,
        description=top.text("description", "") or "",
        main=preset_main,
        cadence=when,
        lookahead=top.flag("lookahead", False),
        aggregate=_choice(top, "aggregate", "analysis", get_args(Aggregate)),
        layers=_between(top, "layers", 1, 1, 4),
        quorum=top.integer("quorum", least=1),
        grace_s=_within(top, "grace_s", 10.0, timeout),
        soft_s=_within(top, "soft_s", 30.0, timeout),
        timeout_s=timeout,
        seed=top.integer("seed", 7) or 0,
        tools_at=_choice(top, "tools_at", "first", ("never", "first", "always")),
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
        raise top.error("references", f"make {members} members (counting count)", remedy)
    if preset.quorum is not None and preset.quorum > members:
        raise top.error("quorum", f"is {preset.quorum}, but there are {members} members", f"use at most {members}")
    if preset.aggregate == "analysis" and not preset.aggregator.enabled:
        remedy = 'set aggregate = "raw" or "vote", or enable it'
        raise top.error("aggregator.enabled", 'is false, but aggregate = "analysis" needs one', remedy)


def _reference(row: Table, max_tokens: int) -> Reference:
    model = _model(row, "model")
    if model is None:
        raise row.error("model", "is missing", 'add model = "ENDPOINT:MODEL"')
    return _seat(row, model, max_tokens)


def _aggregator(table: Table) -> tuple[Reference, str | None]:
    model = "main" if table.data.get("model") == "main" else _model(table, "model")
    table.asked.add("model")
    fallback = _model(table, "fallback")
    seat = _seat(table, model or "main", 4000)
    if seat.count != 1:
        raise table.error("count", f"is {seat.count}, but there is one aggregator", "take the line out")
    if seat.tools:
        raise table.error("tools", "are not for the aggregator, which only compares", "give them to references")
    return seat, fallback


def _seat(table: Table, model: str, max_tokens: int) -> Reference:
    temperature = table.number("temperature")
    if temperature is not None and temperature > 2:
        raise table.error("temperature", f"is {temperature:g}", "use a number from 0 to 2")
    tools = table.texts("tools")
    for tool in tools:
        if tool not in TOOLS:
            raise table.error("tools", f"names {tool!r}", f"use some of {', '.join(TOOLS)}")
    seat = Reference(
        model=model,
        role=table.text("role"),
        count=table.integer("count", 1, least=1) or 1,
        temperature=temperature,
        reasoning=table.text("reasoning", choices=get_args(Effort)),  # type: ignore[arg-type]
        max_tokens=table.integer("max_tokens", max_tokens, least=1) or max_tokens,
        tools=tools,
        max_tool_calls=_between(table, "max_tool_calls", 4, 1, 16),
        enabled=table.flag("enabled", True),
    )
    _done(table)
    return seat


def _model(table: Table, key: str) -> str | None:
    text = table.text(key)
    if text is None:
        return None
    try:
        model = ModelRef.parse(text)
    except ValueError as error:
        raise table.error(key, f"is no model: {error}", "write ENDPOINT:MODEL") from None
    if model.endpoint == "moa" or model.model.startswith(("moa/", "openrouter/fusion")):
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


def _choice(table: Table, key: str, default: str, choices: tuple[str, ...]) -> Any:
    return table.text(key, default, choices=choices)


def _between(table: Table, key: str, default: int, least: int, most: int) -> int:
    value = table.integer(key, default, least=least) or default
    if value > most:
        raise table.error(key, f"is {value}", f"use a whole number from {least} to {most}")
    return value


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
