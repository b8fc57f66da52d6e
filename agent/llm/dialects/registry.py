"""The wire formats that there are. A new one is one file, which knows all that is its own, and one row here."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from agent.llm.dialects.base import Dialect

# What config.toml calls it, and the class, which is imported by the first endpoint that speaks it.
DIALECTS: dict[str, str] = {
    "chat": "agent.llm.dialects.chat:ChatDialect",
    "anthropic": "agent.llm.dialects.anthropic:AnthropicDialect",
    "responses": "agent.llm.dialects.responses:ResponsesDialect",
    "replay": "agent.llm.dialects.replay:ReplayDialect",
    "command": "agent.llm.dialects.command:CommandDialect",
}


@cache
def dialect_named(name: str) -> Dialect:
    """The dialect of that name; it has no state, so one serves all. Raises KeyError for a name that is not in the table."""
    module, _colon, attribute = DIALECTS[name].partition(":")
    return cast("Dialect", getattr(import_module(module), attribute)())


def paths() -> frozenset[str]:
    """What follows the base URL in any dialect, for a call or a list: users paste such addresses where a base URL is meant."""
    dialects = [dialect_named(name) for name in DIALECTS]
    return frozenset(path for dialect in dialects for path in (dialect.path, dialect.list_path) if path)
