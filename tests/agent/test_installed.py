"""Plugins are found as importlib.metadata finds them, without loading it."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points as all_of
from pathlib import Path

import pytest

from agent.errors import UsageError
from agent.installed import GROUP, entry_points, plugin_makers


def package(folder: Path, name: str, text: str, *, kind: str = "-1.0.dist-info") -> None:
    """An installed package with these entry points."""
    info = folder / f"{name}{kind}"
    info.mkdir(parents=True)
    (info / "entry_points.txt").write_text(text)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "PKG-INFO").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")


def test_the_same_as_importlib_metadata(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    package(first, "one_thing", f"[console_scripts]\na = b:c\n\n[{GROUP}]\n# a word\nthing = one.thing:make\n")
    package(second, "One_Thing", f"[{GROUP}]\nthing = another:make\n")
    package(
        second,
        "other",
        f"[{GROUP}]\nother=other:make [extra]\nlast = other.last:a.b\n[x]\nno = no:no\n",
        kind=".egg-info",
    )
    package(second, "none", "[console_scripts]\nx = y:z\n")
    monkeypatch.setattr(sys, "path", [str(first), str(second), str(tmp_path / "not there")])
    ours = {(entry.name, entry.value) for entry in entry_points()}
    assert ours == {(entry.name, entry.value.partition("[")[0].strip()) for entry in all_of(group=GROUP)}
    assert ours == {("thing", "one.thing:make"), ("other", "other:make"), ("last", "other.last:a.b")}


def test_one_that_cannot_be_loaded_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package(tmp_path, "broken", f"[{GROUP}]\nbroken = no_such_module_here:make\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UsageError, match="the plugin broken"):
        plugin_makers()


def test_a_start_does_not_load_it() -> None:
    code = "import sys, agent.host, agent.installed; agent.installed.plugin_makers(); sys.exit('importlib.metadata' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
