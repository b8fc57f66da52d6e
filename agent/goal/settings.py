"""The `[goal]` section of config.toml."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.config.toml import Table


@dataclass(frozen=True, slots=True)
class Settings:
    """`judge` is ENDPOINT:MODEL or a panel's name, None the main model. `turns` is the budget of a goal that is given none. A gate may take
    `gate_timeout_s` seconds. An outage is waited for `retries` times, `retry_s` seconds at first and each time twice as long.
    """

    judge: str | None = None
    turns: int = 20
    gate_timeout_s: float = 300.0
    retry_s: float = 30.0
    retries: int = 6


def read(section: Mapping[str, Any], file: Path) -> Settings:
    """The section, checked. Raises UsageError that names file, key and remedy."""
    default = Settings()
    if not section:
        return default
    table = Table(dict(section), file, "goal")
    timeout, retry = table.number("gate_timeout_s", default.gate_timeout_s), table.number("retry_s", default.retry_s)
    settings = Settings(
        judge=table.text("judge"),
        turns=table.integer("turns", default.turns, least=1) or default.turns,
        gate_timeout_s=default.gate_timeout_s if timeout is None else timeout,
        retry_s=default.retry_s if retry is None else retry,
        retries=default.retries if (found := table.integer("retries", default.retries)) is None else found,
    )
    table.done()
    return settings
