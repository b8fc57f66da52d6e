"""`.moa/config.toml`: what a project may set, once the user trusts it. All else is the user's own."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from agent.config.toml import Table, load


class ProjectSettings(NamedTuple):
    """`[mcp.servers]` and `[[hooks]]`, not read further."""

    servers: Table
    hooks: list[Table]


def read(project: Path) -> ProjectSettings:
    """The settings of a project's `.moa` folder, empty where there are none. Raises UsageError for what a project can't set."""
    file = project / "config.toml"
    top = Table(load(file), file)
    mcp = top.table("mcp")
    found = ProjectSettings(mcp.table("servers"), top.rows("hooks"))
    mcp.done()  # how long is waited for servers is the user's to say
    top.done()
    return found
