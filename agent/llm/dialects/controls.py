"""`Controls` on the wire: which of them a dialect has words for, and how it writes them."""

from __future__ import annotations

from typing import Any

from agent.llm.request import Controls, Request

_CHAT = (
    *("top_p", "top_k", "seed", "frequency_penalty", "presence_penalty", "stop", "user", "service_tier", "verbosity"),
    *("parallel", "tool"),
)
_ANTHROPIC = ("top_p", "top_k", "stop", "user", "service_tier", "parallel", "tool")
_RESPONSES = ("top_p", "user", "service_tier", "verbosity", "parallel", "tool")

SAYS: dict[str, frozenset[str]] = {
    "chat": frozenset(_CHAT),
    "anthropic": frozenset(_ANTHROPIC),
    "responses": frozenset(_RESPONSES),
    "replay": frozenset(_CHAT),  # stored answers do not change with what is asked
    "command": frozenset(),
}
"""The fields of `Controls` that a dialect can say. (`top_k` in Chat Completions is no word of OpenAI's, but of nearly everybody else's.)"""

TIERS: dict[str, dict[str, str]] = {"anthropic": {"auto": "auto", "default": "standard_only"}}
"""A dialect's own words for the tiers of service; one that it has no word for can't be said."""


def chat(request: Request, quirks: frozenset[str]) -> dict[str, Any]:
    """The fields of a Chat Completions body."""
    said = request.controls or Controls()
    body = _plain(said, _CHAT[:-2])
    if request.tools and said.parallel is not None:
        body["parallel_tool_calls"] = said.parallel
    if said.tool and request.tool_choice == "required" and "no_forced_tool_choice" not in quirks:
        body["tool_choice"] = {"type": "function", "function": {"name": said.tool}}
    return body


def anthropic(request: Request, so_far: dict[str, Any], quirks: frozenset[str]) -> dict[str, Any]:
    """The fields of a Messages body. A model that thinks takes no sampling of its own."""
    said = request.controls or Controls()
    sampled = () if "thinking" in so_far or "no_temperature" in quirks else ("top_p", "top_k")
    body = _plain(said, sampled)
    if said.stop:
        body["stop_sequences"] = list(said.stop)
    if said.user:
        body["metadata"] = {"user_id": said.user}
    if said.service_tier:
        body["service_tier"] = TIERS["anthropic"].get(said.service_tier, said.service_tier)
    choice = dict(so_far.get("tool_choice") or {})
    if said.tool and choice.get("type") == "any":
        choice = {"type": "tool", "name": said.tool}
    if request.tools and said.parallel is False and choice.get("type") != "none":
        choice = {"type": "auto", **choice, "disable_parallel_tool_use": True}
    if choice:
        body["tool_choice"] = choice
    return body


def responses(request: Request, so_far: dict[str, Any], quirks: frozenset[str]) -> dict[str, Any]:
    """The fields of a Responses body."""
    said = request.controls or Controls()
    body = _plain(said, ("top_p", "user", "service_tier"))
    if said.verbosity:
        body["text"] = {**so_far.get("text", {}), "verbosity": said.verbosity}
    if request.tools and said.parallel is not None:
        body["parallel_tool_calls"] = said.parallel
    if said.tool and request.tool_choice == "required" and "no_forced_tool_choice" not in quirks:
        body["tool_choice"] = {"type": "function", "name": said.tool}
    return body


def _plain(said: Controls, names: tuple[str, ...]) -> dict[str, Any]:
    values = ((name, getattr(said, name)) for name in names)
    return {
        name: list(value) if isinstance(value, tuple) else value for name, value in values if value not in (None, ())
    }
