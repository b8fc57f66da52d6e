"""The commands beside `run`: what they say for people, and the same as data."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.endpoint import ScriptedEndpoint
from tests.support.program import Program, preset_text


def test_json_is_data_and_not_a_drawn_table(program: Program, endpoint: ScriptedEndpoint) -> None:
    models = program("models", "list", "--json").result["models"]
    local = next(model for model in models if model["ref"] == "local:smollm2")
    assert local["fetched"] is False
    assert isinstance(local["context_window"], int)
    presets = {preset["name"]: preset for preset in program("preset", "list", "--json").result["presets"]}
    assert presets["budget"]["problem"] is None
    shown = program("preset", "show", "budget", "--json").result
    assert shown["preset"]["quorum"] == 2
    checks = {check["what"]: check for check in program("doctor", "--json").result["checks"]}
    assert checks["endpoint fake"]["ok"] and checks["presets"]["ok"]


def test_an_error_of_a_json_command_is_json(program: Program) -> None:
    done = program("models", "list", "nope", "--json")
    assert (done.code, done.result["status"], done.result["error"]["kind"]) == (2, "usage", "endpoint")


def test_doctor_names_what_is_wrong(program: Program) -> None:
    (program.config_dir / "presets" / "broken.toml").write_text("cadence = 3\n")
    checks = {check["what"]: check for check in program("doctor", "--json").result["checks"]}
    assert checks["preset broken"]["ok"] is False
    assert "cadence" in checks["preset broken"]["state"]


def test_a_preset_with_a_dead_member_does_not_check_out(program: Program) -> None:
    program.preset("half", preset_text(["fake:say", "fake:fail-401"]))
    done = program("preset", "check", "half", "--json")
    states = {probe["model"]: probe["ok"] for probe in done.result["probes"]}
    assert done.code == 1
    assert (states["fake:say"], states["fake:fail-401"]) == (True, False)


def test_trust_is_for_the_folder_that_has_the_presets(program: Program, tmp_path: Path) -> None:
    project = tmp_path / "project"
    (project / ".moa").mkdir(parents=True)
    for wrong in (project / "below", tmp_path):
        assert program("trust", str(wrong)).code == 2
    assert program("trust", str(project)).code == 0
    assert str(project) in (program.config_dir / "config.toml").read_text()
    assert "already" in program("trust", str(project)).out


@pytest.mark.parametrize("verb", [("list",), ("search", "hello"), ("show", "-")])
def test_conversations_as_data(program: Program, verb: tuple[str, ...]) -> None:
    session = program.run("hello", "--model", "fake:say").result["session"]
    words = [session if word == "-" else word for word in verb]
    data = program("session", *words, "--json").result
    assert session in json.dumps(data)
    assert "hello" in json.dumps(data)
