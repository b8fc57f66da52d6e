"""On whose account a request is: its key's budget, and what the key may ask for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from agent.llm.accounting import Cap
from agent.llm.errors import AuthError
from moa.serve.keys.settings_in import settings_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from agent.llm.request import ModelRef

ANYBODY = "anybody"
"""The account where the server asks for no key."""
_PRESET = "@preset/"
"""Behind it stands a preset of the endpoint's (OpenRouter), which may have models of its own: no `*` means that."""


_QUERY = re.compile(r"((beta|api-version)=[A-Za-z0-9._-]*(&|$))*")
"""What known clients write behind the path: which form of the wire they speak."""


@dataclass(frozen=True, slots=True)
class Account:
    """One key, without the key. `id` stands for it in the database, `name` is what people call it.

    `day_nano` (nano-dollars) and `day_tokens` are its budget for a day. `models` are patterns of ENDPOINT:MODEL, `presets` names; empty:
    no limit of that kind. `is_own`: the server's own key, which sees the figures of all.
    """

    id: str
    name: str
    day_nano: int | None = None
    day_tokens: int | None = None
    models: tuple[str, ...] = ()
    presets: tuple[str, ...] = ()
    is_own: bool = False

    @property
    def caps(self) -> tuple[Cap, ...]:
        """Its budget."""
        if self.day_nano is None and self.day_tokens is None:
            return ()
        return (Cap("account", f"the budget of the key {self.name!r}", self.day_nano, self.day_tokens),)

    def takes_preset(self, name: str) -> bool:
        """Whether it may ask this panel."""
        return not self.presets or name in self.presets

    def takes_model(self, model: str, preset: str | None = None, *, own: bool = False) -> bool:
        """Whether this model (ENDPOINT:MODEL) may answer it. `own`: it is the main model of that preset, which nobody chose."""
        if own and preset in self.presets:
            return True
        if self.models:
            return any(
                fnmatchcase(model, pattern) and (_PRESET in pattern or _PRESET not in model) for pattern in self.models
            )
        return not self.presets or (own and preset is not None and self.takes_preset(preset))

    def check(self, main: ModelRef, preset: str | None, *, own: bool) -> None:
        """Raise AuthError (403) where this panel, or this main model, is not for this key. `own` as above."""
        if preset is not None and not self.takes_preset(preset):
            raise self._refusal(f"the preset {preset!r}")
        if not self.takes_model(str(main), preset, own=own):
            raise self._refusal(f"the model {str(main)!r}")

    def check_panel(self, preset: str, chosen: Iterable[str]) -> None:
        """The same for a panel that a tool of the request asks. `chosen` are the models (ENDPOINT:MODEL) that the request names for it."""
        if not self.takes_preset(preset):
            raise self._refusal(f"the preset {preset!r}")
        for model in chosen:
            if not self.takes_model(model):
                raise self._refusal(f"the model {model!r}")

    def check_query(self, query: str) -> None:
        """Raise AuthError (403) where something stands behind the path that nobody here knows: proxies take a model, or whatever else they take
        in the body, from there, and that before the body's."""
        if not _QUERY.fullmatch(query):
            raise self._refusal(f"what stands behind the path (?{query[:80]})")

    def check_others(self, endpoint: str, wire: str, body: Mapping[str, Any]) -> None:
        """The same for models that a request names beside the one that answers: for the endpoint to fall back on, or for a tool of its own;
        and for fields of which nobody here knows whether they do."""
        for field in _unknown(body):
            raise self._refusal(f"the field {field[:80]!r}, which may name models,")
        for model in _others(settings_in(wire, body)):
            if not self.takes_model(f"{endpoint}:{model}"):
                raise self._refusal(f"the model {model!r}")

    def _refusal(self, what: str) -> AuthError:
        remedy = "GET /v1/models lists what is; whoever runs the server can make another key: moa serve keys new"
        return AuthError(f"{what} is not for the key {self.name!r}", status=403, remedy=remedy)


_SAID = frozenset(
    {"messages", "input", "system", "instructions", "metadata", "client_metadata", "prediction", "prompt", "user", "trace"}
)  # fmt: skip
"""What is said, and no settings."""
_SETTINGS = frozenset(
    {
        *("models", "fallbacks", "route", "provider", "plugins", "transforms"),
        *("tools", "tool_choice", "functions", "function_call", "mcp_servers", "web_search_options", "include"),
        *("reasoning", "reasoning_effort", "thinking", "verbosity", "text", "modalities", "audio", "image_config"),
        *("response_format", "output_config", "output_format", "structured_outputs", "grammar", "json_schema"),
        *("guided_json", "guided_regex", "guided_choice", "guided_grammar", "chat_template_kwargs", "samplers"),
        *("stop", "stop_sequences", "logit_bias", "stream_options", "usage", "stop_server_tools_when", "moderation"),
        *("truncation", "context_management", "cache_control", "prompt_cache_key", "prompt_cache_retention"),
        *("prompt_cache_options", "session_id", "safety_identifier", "user_profile_id", "diagnostics", "keep_alive"),
        *("service_tier", "speed", "inference_geo", "betas", "anthropic_beta"),
        *("container", "conversation", "previous_response_id"),
    }
)
"""What is known of a body's own fields: they name no model, or in places that `_names` knows."""


def _unknown(body: Mapping[str, Any]) -> Iterator[str]:
    """The fields that may route a request by what nobody here knows. A number, or whether or not, names nothing."""
    for key, value in body.items():
        if key != "model" and key not in _SAID and key not in _SETTINGS and not isinstance(value, int | float | None):
            yield key


def _others(settings: Mapping[str, Any]) -> Iterator[str]:
    for key, value in settings.items():
        if key not in _SAID and key != "model":
            yield from _named(value, _names(key))


def _names(key: str) -> bool:
    """Whether what stands under a name are models: `model`, `allowed_models`, `fallbacks`, or a preset that has some."""
    name = key.strip().lower()
    return "model" in name or "fallback" in name or name == "preset"


def _named(value: Any, naming: bool) -> Iterator[str]:
    """The models that a value names."""
    if isinstance(value, str):
        if naming:
            yield value
    elif isinstance(value, list):
        for each in value:
            yield from _named(each, naming)
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from _named(each, (naming and key not in _SETTINGS) or _names(key))
