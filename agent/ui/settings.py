"""The `[ui]` section of config.toml: what the faces that talk with the user let themselves be told.

Read by a face, not with the rest: a run without one pays nothing for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from agent.config.toml import Table

if TYPE_CHECKING:
    from agent.config.config import Config

NotifyBy = Literal["auto", "osc9", "osc777", "bell", "off"]


@dataclass(frozen=True, slots=True)
class UiSettings:
    """How the chat looks and behaves. `notify_after_s`: a turn that took longer (seconds) says so when it ends."""

    theme: str | None = None
    reduced_motion: bool = False
    mouse: bool = True
    notify: NotifyBy = "auto"
    notify_after_s: float = 20.0


def read(config: Config) -> UiSettings:
    """The section, checked. Raises UsageError naming file, key and remedy."""
    return read_section(config.ui, config.paths.config_file)


def read_section(section: Mapping[str, Any], file: Path) -> UiSettings:
    """The same from a file of which nothing else was read."""
    table = Table(dict(section), file, "ui")
    default = UiSettings()
    by = table.text("notify", default.notify, choices=("auto", "osc9", "osc777", "bell", "off"))
    after = table.number("notify_after_s", default.notify_after_s)
    settings = UiSettings(
        theme=table.text("theme"),
        reduced_motion=table.flag("reduced_motion", default.reduced_motion),
        mouse=table.flag("mouse", default.mouse),
        notify=cast("NotifyBy", by),
        notify_after_s=default.notify_after_s if after is None else after,
    )
    table.done()
    return settings
