"""The `[serve]` section of config.toml."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.config.toml import Table

SECTION = "serve"
PORT = 8484
VARIABLE = "MOA_SERVE_DATABASE"
LOGS = ("none", "json")
COUNSEL_FOR = ("auto", "all", "none")


@dataclass(frozen=True, slots=True)
class Settings:
    """How the server serves. `head_s`: so long (seconds) the head of a streamed answer waits for counsel. `guidance_mb`: of inserted
    guidance that is kept. `body_mb`: the largest request. `origins`: pages of browsers that may ask; `hosts`: names under which it may be
    asked beside its own. `database`: the address of the one that several servers share (None: the ledger's
    file). `drain_s`: so long an answer may still take when the server is told to end.
    `log`: whether each request is a line of JSON on standard error."""

    port: int = PORT
    counsel_for: str = "auto"
    head_s: float = 20.0
    guidance_mb: int = 500
    body_mb: int = 64
    origins: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    database: str | None = None
    drain_s: float = 30.0
    log: str = "none"


def database(given: str | None, settings: Settings, env: Mapping[str, str]) -> str | None:
    """The address of the database: that of the command line, of the environment, or of the settings. None: the ledger's file."""
    return given or env.get(VARIABLE, "").strip() or settings.database


def read(section: Mapping[str, Any], file: Path) -> Settings:
    """The section, checked. Raises UsageError that names file, key and remedy."""
    table = Table(dict(section), file, SECTION)
    settings = Settings(
        port=table.integer("port", PORT, most=65535) or 0,
        counsel_for=table.text("counsel_for", "auto", choices=COUNSEL_FOR) or "auto",
        head_s=table.number("head_s", 20.0) or 0.0,
        guidance_mb=table.integer("guidance_mb", 500) or 0,
        body_mb=table.integer("body_mb", 64, least=1) or 64,
        origins=table.texts("origins"),
        hosts=table.texts("hosts"),
        database=table.text("database", None),
        log=table.text("log", "none", choices=LOGS) or "none",
        drain_s=table.number("drain_s", 30.0) or 0.0,
    )
    table.done()
    return settings
