"""`moa preset check` ends, whatever a member does."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from moa.admin import presets, probing


def test_a_program_that_waits_for_a_login_is_stopped_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in ("CONFIG", "STATE", "CACHE"):
        monkeypatch.setenv(f"MOA_{kind}_DIR", str(tmp_path / kind.lower()))
    folder = tmp_path / "config" / "presets"
    folder.mkdir(parents=True)
    (folder / "p.toml").write_text('[[references]]\nmodel = "waits:x"\n')
    (tmp_path / "config" / "config.toml").write_text(
        '[endpoints.waits]\ndialect = "command"\ncommand = ["sleep", "1000"]\n'
    )
    monkeypatch.setattr(probing, "PROBE_S", 0.2)
    report = asyncio.run(presets.check("p"))
    assert not report.ok
    state = report.data["probes"][0]["state"]
    assert state == "no answer within 0.2 s, stopped: start sleep once by itself; it may be waiting for you to log in"
