"""The chat's stylesheets, read once for all the apps of a test run. Each app reads its own: a seventh of what a short test of the screen costs."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from textual.css import stylesheet
from textual.css.parse import parse
from textual.css.tokenize import Token, tokenize_values

_values: dict[tuple[tuple[str, str], ...], dict[str, list[Token]]] = {}
_rules: dict[tuple[Any, ...], list[Any]] = {}


def _tokens(values: Mapping[str, str]) -> dict[str, list[Token]]:
    key = tuple(values.items())
    if key not in _values:
        _values[key] = tokenize_values(dict(values))
    return _values[key]


def _parsed(scope: str, css: str, read_from: Any, variable_tokens: Any = None, **more: Any) -> list[Any]:
    # The tokens of the same variables are the same object, which stays.
    key = (scope, css, read_from, id(variable_tokens), *more.items())
    if key not in _rules:
        _rules[key] = list(parse(scope, css, read_from, variable_tokens=variable_tokens, **more))
    return _rules[key]


@cache
def share() -> None:
    """From here on, in this process."""
    stylesheet.tokenize_values = _tokens  # type: ignore[assignment]
    stylesheet.parse = _parsed  # type: ignore[assignment]
