"""Presets as people to delegate to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agent.build import build
from agent.errors import UsageError
from agent.host import Options
from agent.llm.request import ModelRef
from agent.plugin import Profile, Registry
from moa.plugin import Moa, make

CONFIG = 'model = "fake:main"\n[endpoints.fake]\nbase_url = "http://127.0.0.1:9/v1"\n'
PRESET = """
{main}
[[references]]
model = "fake:one"
temperature = 0.3
count = 2
[[references]]
model = "fake:two"
reasoning = "low"
"""


def offers(tmp_path: Path) -> tuple[Moa, Any]:
    """The plugin as the host builds it, and what it offers."""
    presets = tmp_path / "config" / "presets"
    presets.mkdir(parents=True)
    (presets / "led.toml").write_text(PRESET.format(main='main = "fake:leader"'))
    (presets / "flat.toml").write_text(PRESET.format(main=""))
    (tmp_path / "config" / "config.toml").write_text(CONFIG)
    found: list[tuple[Moa, Registry]] = []

    def maker(host: Any) -> Moa:
        plugin = make(host)
        found.append((plugin, host.registry))
        return plugin

    env = {f"MOA_{kind}_DIR": str(tmp_path / kind.lower()) for kind in ("CONFIG", "STATE", "CACHE")}
    build(Options(cwd=tmp_path), env=env, makers={"moa": maker})
    plugin, registry = found[0]
    return plugin, registry.profiles


def test_a_preset_is_its_main_model_or_else_its_first_member(tmp_path: Path) -> None:
    _, profiles = offers(tmp_path)
    assert profiles.find("led") == Profile(ModelRef("fake", "leader"))
    assert profiles.find("flat") == Profile(ModelRef("fake", "one"), temperature=0.3)
    assert {"led", "flat", "budget"} <= set(profiles.names())


def test_a_seat_is_asked_as_its_preset_says(tmp_path: Path) -> None:
    _, profiles = offers(tmp_path)
    assert profiles.find("led/2") == Profile(ModelRef("fake", "one"), temperature=0.3)
    assert profiles.find("led/3") == Profile(ModelRef("fake", "two"), reasoning="low")
    with pytest.raises(UsageError, match="no member 4"):
        profiles.find("led/4")


def test_what_is_no_preset_is_nobody(tmp_path: Path) -> None:
    _, profiles = offers(tmp_path)
    assert profiles.find("nothing") is None and profiles.find("fake:one") is None


def test_only_the_armed_one_is_agreed_to(tmp_path: Path) -> None:
    plugin, profiles = offers(tmp_path)
    plugin.arm("flat")
    assert profiles.find("flat").agreed and profiles.find("flat/3").agreed
    assert not profiles.find("led").agreed
