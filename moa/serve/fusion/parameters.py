"""What a client may say of Fusion, read and checked: the parameters of the server tool and of the plugin, with their ranges and defaults.

Source: openrouter.ai/docs, server tools/fusion and plugins/fusion, and openrouter.ai/openapi.yaml, as of August 2026. Where these disagree
docs/decisions/0126-fusions-wire.md says which one holds here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from agent.errors import UsageError
from agent.llm.models.families import EFFORTS
from agent.llm.request import Effort

MOST_MODELS = 8
TOOL_CALLS, MOST_TOOL_CALLS = 4, 16
COMPLETION_TOKENS = 16_000
MOST_TOOLS = 8

PRESETS: Mapping[str, str] = {"general-high": "quality", "general-budget": "budget", "general-fast": "fast"}
"""Fusion's presets, and ours that stand for them."""
WEB_TOOLS: Mapping[str, str] = {"openrouter:web_search": "web_search", "openrouter:web_fetch": "web_fetch"}
"""The tools that a panel's members can be given, and what they are called here."""

# Of the web tools' parameters these are honoured; of the others, those that only this service can honour are refused by name.
_DOMAINS = {
    "web_search": {"excluded_domains": "excluded", "allowed_domains": "allowed"},
    "web_fetch": {"blocked_domains": "excluded", "allowed_domains": "allowed"},
}
_VENDOR_ONLY = frozenset(
    {
        "mode",
        "max_results",
        "max_uses",
        "max_total_results",
        "search_context_size",
        "max_characters",
        "max_content_tokens",
        "user_location",
    }
)

# How much of `max_tokens` thinking takes at each level (openrouter.ai, reasoning tokens); a budget in tokens is the nearest level.
_SHARES: tuple[tuple[Effort, float], ...] = (
    ("minimal", 0.1),
    ("low", 0.2),
    ("medium", 0.5),
    ("high", 0.8),
    ("xhigh", 0.95),
)


@dataclass(frozen=True, slots=True)
class Fusion:
    """What a request asks of Fusion. None and empty: it says nothing of that.

    `preset` is the name of one of ours. `tools` are ours by name, None: the default. `given` names what the request says.
    """

    analysis_models: tuple[str, ...] = ()
    model: str | None = None
    preset: str | None = None
    max_tool_calls: int = TOOL_CALLS
    max_completion_tokens: int = COMPLETION_TOKENS
    reasoning: Effort | None = None
    temperature: float | None = None
    tools: tuple[str, ...] | None = None
    excluded_domains: tuple[str, ...] = ()
    allowed_domains: tuple[str, ...] = ()
    enabled: bool = True
    given: frozenset[str] = frozenset()

    def over(self, other: Fusion) -> Fusion:
        """These parameters, and those of `other` where these say nothing: the tool's own beat the plugin's."""
        said = {name: getattr(self, name) for name in self.given}
        return replace(other, **said, given=self.given | other.given)


def read_tool(value: Any, where: str) -> Fusion:
    """The `parameters` of a tool `openrouter:fusion` (or None). Raises UsageError that names the place (`where` it stands), what is wrong
    and what to do."""
    fields = Fields(value, where)
    fields.refuse("preset", "is a parameter of the plugin", 'write plugins: [{"id": "fusion", "preset": …}]')
    fields.refuse("enabled", "is a parameter of the plugin", "leave the tool out instead")
    most = fields.whole("max_completion_tokens", COMPLETION_TOKENS, 1, None)
    temperature = fields.number("temperature", 0, 2)
    reasoning = _reasoning(fields, most)
    _cache_control(fields)
    return replace(
        _shared(fields),
        max_completion_tokens=most,
        temperature=temperature,
        reasoning=reasoning,
        given=_given(fields),
    )


def read_plugin(value: Mapping[str, Any], where: str, presets: Callable[[], Collection[str]] = tuple) -> Fusion:
    """An entry `{"id": "fusion", …}` of `plugins`. `presets` are the user's own, which it may name, too. Raises UsageError."""
    fields = Fields(value, where)
    fields.take("id")
    for key in ("max_completion_tokens", "reasoning", "temperature", "cache_control"):
        fields.refuse(
            key, "is a parameter of the server tool", 'write tools: [{"type": "openrouter:fusion", "parameters": …}]'
        )
    enabled = fields.flag("enabled", True)
    name = fields.text("preset")
    if name is not None and name not in PRESETS and name not in presets():
        there = ", ".join((*PRESETS, *sorted(presets())))
        raise fields.error("preset", f"is {name!r}", f"use one of {there}")
    preset = None if name is None else PRESETS.get(name, name)
    return replace(_shared(fields), preset=preset, enabled=enabled, given=_given(fields))


def find_plugin(value: Any, presets: Callable[[], Collection[str]] = tuple) -> Fusion | None:
    """The fusion plugin of a request's `plugins`, None where there is none. Raises UsageError for a wrong one, or for two."""
    found = [
        (at, each)
        for at, each in enumerate(value if isinstance(value, list) else ())
        if isinstance(each, Mapping) and each.get("id") == "fusion"
    ]
    if len(found) > 1:
        raise invalid(f"plugins[{found[1][0]}]", "is the fusion plugin for the second time", "leave one of them out")
    return read_plugin(found[0][1], f"plugins[{found[0][0]}]", presets) if found else None


def _shared(fields: Fields) -> Fusion:
    """What both forms have; nothing else may be left."""
    models = fields.texts("analysis_models", MOST_MODELS)
    if models is not None and not models:
        raise fields.error("analysis_models", "is empty", f"name 1 to {MOST_MODELS} models, or leave it out")
    model = fields.text("model")
    calls = fields.whole("max_tool_calls", TOOL_CALLS, 1, MOST_TOOL_CALLS)
    tools, excluded, allowed = _tools(fields)
    fields.done()
    return Fusion(
        analysis_models=models or (),
        model=model,
        max_tool_calls=calls,
        tools=tools,
        excluded_domains=excluded,
        allowed_domains=allowed,
    )


def _given(fields: Fields) -> frozenset[str]:
    names = {key for key, value in fields.data.items() if value is not None and key in Fusion.__slots__}
    return frozenset(names | ({"excluded_domains", "allowed_domains"} if "tools" in names else set()))


def _reasoning(fields: Fields, most: int) -> Effort | None:
    value = fields.take("reasoning")
    if value is None:
        return None
    inner = Fields(value, f"{fields.where}.reasoning")
    effort = inner.text("effort")
    budget = inner.whole_or_none("max_tokens", 0)
    inner.done()
    if effort is not None and effort not in EFFORTS:
        raise inner.error("effort", f"is {effort!r}", f"use one of {', '.join(EFFORTS)}")
    if effort is not None or budget is None:
        return effort
    share = budget / most
    return "none" if budget == 0 else min(_SHARES, key=lambda level: abs(level[1] - share))[0]


def _cache_control(fields: Fields) -> None:
    """Checked and without effect: cache marks are always set here, where the endpoint takes them."""
    value = fields.take("cache_control")
    if value is None:
        return
    inner = Fields(value, f"{fields.where}.cache_control")
    if inner.text("type") != "ephemeral":
        raise inner.error("type", "is not ephemeral", 'write {"type": "ephemeral"}')
    if inner.text("ttl") not in (None, "5m", "1h"):
        raise inner.error("ttl", "is neither 5m nor 1h", "use one of these, or leave it out")
    inner.done()


def _tools(fields: Fields) -> tuple[tuple[str, ...] | None, tuple[str, ...], tuple[str, ...]]:
    """The members' tools (None: nothing is said), and the domains that none of them may, or that they alone may go to."""
    value = fields.take("tools")
    if value is None:
        return None, (), ()
    if not isinstance(value, list):
        raise fields.error("tools", "is not a list", "write a list of tools, or [] for none")
    if len(value) > MOST_TOOLS:
        raise fields.error("tools", f"has {len(value)} entries", f"use at most {MOST_TOOLS}")
    names: dict[str, None] = {}
    domains: dict[str, dict[str, None]] = {"excluded": {}, "allowed": {}}
    for at, each in enumerate(value):
        tool = Fields(each, f"{fields.where}.tools[{at}]")
        kind = tool.text("type")
        name = WEB_TOOLS.get(kind or "")
        if name is None:
            raise tool.error("type", f"is {kind!r}", f"a panel's members can use {' and '.join(WEB_TOOLS)} here")
        names[name] = None
        _web(Fields(tool.take("parameters") or {}, f"{tool.where}.parameters"), name, domains)
        tool.done()
    return tuple(names), tuple(domains["excluded"]), tuple(domains["allowed"])


def _web(fields: Fields, name: str, domains: Mapping[str, dict[str, None]]) -> None:
    for key, side in _DOMAINS[name].items():
        domains[side] |= dict.fromkeys(fields.texts(key) or ())
    if (engine := fields.text("engine")) not in (None, "auto"):
        raise fields.error(
            "engine", f"is {engine!r}", "leave it out: the engine is search in [web] of the server's config.toml"
        )
    for key in sorted(_VENDOR_ONLY & set(fields.data)):
        fields.refuse(key, "can't be honoured here", "leave it out")
    fields.done()


class Fields:
    """An object of a request, read key by key; what nobody has asked for is an error in the end. Keys whose value is null count as absent."""

    def __init__(self, value: Any, where: str) -> None:
        if value is not None and not isinstance(value, Mapping):
            raise invalid(where, "is not an object", "write it in braces")
        self.data: Mapping[str, Any] = value or {}
        self.where = where
        self._asked: set[str] = set()

    def error(self, key: str, what: str, remedy: str) -> UsageError:
        """What is wrong with a key."""
        return invalid(f"{self.where}.{key}", what, remedy)

    def take(self, key: str) -> Any:
        """A value of whatever kind."""
        self._asked.add(key)
        return self.data.get(key)

    def refuse(self, key: str, what: str, remedy: str) -> None:
        """Raises UsageError where the key is there."""
        if self.take(key) is not None:
            raise self.error(key, what, remedy)

    def text(self, key: str) -> str | None:
        """A string that is not empty."""
        value = self.take(key)
        if value is None:
            return None
        if not isinstance(value, str) or not value.strip():
            raise self.error(key, "is not text", "write it in quotes")
        return value

    def texts(self, key: str, most: int | None = None) -> tuple[str, ...] | None:
        """A list of strings, of at most so many."""
        value = self.take(key)
        if value is None:
            return None
        if not isinstance(value, list) or not all(isinstance(each, str) and each.strip() for each in value):
            raise self.error(key, "is not a list of texts", 'write ["…", "…"]')
        if most is not None and len(value) > most:
            raise self.error(key, f"has {len(value)} entries", f"use at most {most}")
        return tuple(value)

    def flag(self, key: str, default: bool) -> bool:
        """True or false."""
        value = self.take(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.error(key, "is neither true nor false", "use one of these")
        return value

    def whole_or_none(self, key: str, least: int, most: int | None = None) -> int | None:
        """A whole number within bounds; a float that is one counts."""
        value = self.take(key)
        if value is None:
            return None
        whole = (
            isinstance(value, int | float)
            and not isinstance(value, bool)
            and math.isfinite(value)
            and value == int(value)
        )
        if not whole or value < least or (most is not None and value > most):
            bounds = f"from {least} to {most}" if most is not None else f"of at least {least}"
            raise self.error(key, f"is {value!r}", f"use a whole number {bounds}")
        return int(value)

    def whole(self, key: str, default: int, least: int, most: int | None) -> int:
        """The same with a default."""
        value = self.whole_or_none(key, least, most)
        return default if value is None else value

    def number(self, key: str, least: float, most: float) -> float | None:
        """A number within bounds."""
        value = self.take(key)
        if value is None:
            return None
        if not isinstance(value, int | float) or isinstance(value, bool) or not least <= value <= most:
            raise self.error(key, f"is {value!r}", f"use a number from {least:g} to {most:g}")
        return float(value)

    def done(self) -> None:
        """Raises UsageError for a key that nobody knows."""
        for key in self.data:
            if key not in self._asked:
                known = ", ".join(sorted(self._asked))
                raise self.error(key, "is not known", f"it may have {known}")


def invalid(where: str, what: str, remedy: str) -> UsageError:
    """A request that can't be done as it is: the client gets a 400."""
    return UsageError(f"{where} {what}", remedy=remedy, kind="invalid_request")
