"""On whose account a request is: its key's budget, and what the key may ask for."""

from __future__ import annotations

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
            return any(fnmatchcase(model, pattern) for pattern in self.models)
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

    def check_others(self, endpoint: str, body: Mapping[str, Any]) -> None:
        """The same for models that a request names beside the one that answers: for the endpoint to fall back on, or for a tool of its own."""
        for model in _others(body):
            if not self.takes_model(f"{endpoint}:{model}"):
                raise self._refusal(f"the model {model!r}")

    def _refusal(self, what: str) -> AuthError:
        remedy = "GET /v1/models lists what is; whoever runs the server can make another key: moa serve keys new"
        return AuthError(f"{what} is not for the key {self.name!r}", status=403, remedy=remedy)


_NAMING = ("model", "models", "fallbacks")
_WORDS = frozenset({"messages", "input", "system", "instructions", "metadata"})
"""What is said, and no settings."""


def _others(body: Mapping[str, Any]) -> Iterator[str]:
    for key, value in body.items():
        if key not in _WORDS and key != "model":
            yield from _named(value, key in _NAMING)


def _named(value: Any, naming: bool) -> Iterator[str]:
    """The models that a value names."""
    if isinstance(value, str):
        if naming:
            yield value
    elif isinstance(value, list):
        for each in value:
            yield from _named(each, naming)
    elif isinstance(value, dict):
        for key, each in settings_in(value):
            yield from _named(each, key in _NAMING)
