"""Told rightly: folders that are gone, state that vanishes, readers that are slow, and what a panel is."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.contract import checked
from tests.support.endpoint import ScriptedEndpoint
from tests.support.program import Finished, Program, endpoint_config, preset_text
from tests.support.script import Behaviour, Say, Script


@pytest.mark.parametrize("words", [["run", "--output-format", "json", "hi"], ["preset", "list", "--json"]])
def test_a_folder_that_is_gone(program: Program, words: list[str]) -> None:
    gone = program.work_dir / "gone"
    gone.mkdir()
    shell = 'cd "$1" && rmdir "$1" && shift && exec "$@"'
    done = subprocess.run(
        ["/bin/sh", "-c", shell, "sh", str(gone), str(program.executable), *words],
        env=program.environment, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    error = checked(Finished(done.returncode, done.stdout, done.stderr, 0.0, 0.0), "usage", "folder_gone")["error"]
    assert "--cwd" in error["remedy"]


def test_a_folder_that_is_gone_and_another_that_is_named(program: Program) -> None:
    gone = program.work_dir / "gone"
    gone.mkdir()
    shell = 'cd "$1" && rmdir "$1" && exec "$2" run --cwd "$3" --model fake:say hi'
    done = subprocess.run(
        ["/bin/sh", "-c", shell, "sh", str(gone), str(program.executable), str(program.home)],
        env=program.environment, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.sample(1)
@pytest.mark.parametrize("how", ["removed", "moved"])
def test_a_state_folder_that_vanishes_in_mid_turn(program: Program, endpoint: ScriptedEndpoint, how: str) -> None:
    endpoint.script = Script(models={"worker": Behaviour(steps=(Say(text="word " * 20, spread_s=1.0),))})
    child = program.start("run", "--output-format", "json", "hello")
    endpoint.wait_for(lambda: endpoint.calls() and endpoint.calls()[0].first_token)
    if how == "moved":
        (program.state_dir / "sessions").rename(program.home / "elsewhere")
    else:
        shutil.rmtree(program.state_dir)
    out, err = child.communicate(timeout=20)
    result = checked(Finished(child.returncode, out, err, 0.0, 0.0), "failed", "state")
    assert result["session"] is None and str(program.state_dir) in result["error"]["message"]
    assert result["text"].startswith("word word")
    assert "--resume" not in out + err


@pytest.mark.slow
def test_a_caller_that_reads_standard_output_first(program: Program, endpoint: ScriptedEndpoint) -> None:
    """More commentary than a pipe takes, and nobody reads it before the answer has ended."""
    calls = tuple(("glob", {"pattern": f"{'*' * 150}{number}"}) for number in range(120))
    endpoint.script = Script(models={"worker": Behaviour(steps=(*(Say(tools=calls),) * 12, Say(text="The answer.")))})
    child = program.start("run", "hello")
    assert child.stdout is not None and child.stderr is not None
    assert child.stdout.read() == "The answer.\n"
    commentary = child.stderr.read()
    assert child.wait(20) == 0
    assert len(commentary) > 100_000 and "resume with" in commentary


@pytest.mark.slow
def test_no_network_is_no_mistake_of_ours(program: Program) -> None:
    environment = {"HTTPS_PROXY": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9", "PIP_NO_INDEX": "1"}
    done = program("models", "fetch", "smollm2", env=environment)
    assert done.code in (1, 75)
    assert "error of the program itself" not in done.err and not (program.state_dir / "crash.log").exists()


@pytest.mark.parametrize(
    "model", ["fake:OpenRouter/Fusion", "fake:openrouter/FUSION-flash", "fake:MOA/quality", "Moa:x"]
)
def test_a_panel_is_no_member_in_any_case(program: Program, endpoint: ScriptedEndpoint, model: str) -> None:
    program.preset("odd", preset_text([model]))
    error = checked(program.run("hello", "--preset", "odd"), "usage")["error"]
    assert "recursive" in error["message"]
    assert endpoint.calls() == []


def test_a_projects_preset_that_is_not_trusted(program: Program) -> None:
    presets = program.work_dir / ".moa" / "presets"
    presets.mkdir(parents=True)
    (presets / "ours.toml").write_text(preset_text(["fake:a"]))
    for words in (["run", "--output-format", "json", "--preset", "ours", "hi"], ["preset", "show", "ours", "--json"]):
        error = checked(program(*words), "usage", "untrusted_preset")["error"]
        assert f"moa trust {program.work_dir}" in error["remedy"]
    elsewhere = program("run", "--output-format", "json", "--cwd", str(program.home), "--preset", "ours", "hi")
    checked(elsewhere, "usage", "unknown_preset")


def test_doctor_goes_on_without_a_ledger(program: Program, endpoint: ScriptedEndpoint) -> None:
    (program.state_dir / "ledger.db").write_bytes(b"not a database at all, but long enough to look like one\n" * 40)
    done = program("doctor", "--json")
    rows = {row["what"]: row for row in done.result["checks"]}
    assert not rows["ledger"]["ok"] and "not a database" in rows["ledger"]["state"]
    assert "works" in rows["endpoint fake"]["state"]


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_doctor_goes_on_where_the_state_folder_is_read_only(program: Program) -> None:
    program.state_dir.chmod(0o500)
    try:
        rows = {row["what"]: row for row in program("doctor", "--json").result["checks"]}
    finally:
        program.state_dir.chmod(0o700)
    assert not rows["state"]["ok"] and "endpoint fake" in rows


def test_a_byte_order_mark(program: Program, endpoint: ScriptedEndpoint) -> None:
    program.preset("marked", "\ufeff" + preset_text(["fake:a"], aggregate="raw"))
    program.config("\ufeff" + endpoint_config(endpoint.base_url))
    checked(program.run("hello", "--preset", "marked"), "done")


def test_an_instruction_file_that_is_a_folder_is_told(program: Program, endpoint: ScriptedEndpoint) -> None:
    Path(program.work_dir / "AGENTS.md").mkdir()
    done = program.run("hello", "--model", "fake:say")
    checked(done, "done")
    assert "AGENTS.md: left out" in done.err
