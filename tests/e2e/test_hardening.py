"""Odd names, odd files, an odd umask, a piped text, a child that hides where it comes from: none of them hangs, crashes or opens anything."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest

from tests.support.endpoint import ScriptedEndpoint
from tests.support.program import Program, preset_text
from tests.support.script import Behaviour, Say, Script

LONG = "x" * 5_000


@pytest.mark.parametrize("name", ["pipe", LONG, f"../{LONG}", "a\nb", "../../etc/passwd", "folder"])
@pytest.mark.sample(2)
def test_a_session_that_is_none_is_an_error_and_no_hang(program: Program, name: str) -> None:
    sessions = program.state_dir / "sessions"
    (sessions / "folder.jsonl").mkdir(parents=True)
    os.mkfifo(sessions / "pipe.jsonl")
    done = program.run("hello", "--session", name, timeout_s=20)
    assert done.code in (1, 2) and done.result["error"]["kind"] != "internal"
    assert len(done.result["error"]["message"]) < 500
    assert program("session", "list", timeout_s=20).code == 0
    assert program("session", "search", "hello", timeout_s=20).code == 0


@pytest.mark.sample(2)
@pytest.mark.parametrize("option", ["--cwd", "--preset", "--resume", "--image", "--model"])
def test_a_name_without_end_is_an_error_of_a_few_words(program: Program, option: str) -> None:
    done = program.run("hello", option, LONG, timeout_s=20)
    assert done.code in (1, 2) and done.result["error"]["kind"] != "internal"


def test_a_pipe_instead_of_a_file_of_ours_holds_nobody_up(program: Program, endpoint: ScriptedEndpoint) -> None:
    os.mkfifo(program.config_dir / "presets" / "odd.toml")
    os.mkfifo(program.work_dir / "AGENTS.md")
    os.mkfifo(program.work_dir / "shot.png")
    assert program("preset", "list", timeout_s=20).code == 0
    assert program("preset", "show", "odd", timeout_s=20).code in (1, 2)
    assert program.run("look at @shot.png", "--model", "fake:say", timeout_s=20).code == 0
    (program.config_dir / "config.toml").unlink()
    os.mkfifo(program.config_dir / "config.toml")
    done = program.run("hello", timeout_s=20)
    assert done.code in (1, 2) and "regular file" in done.result["error"]["message"]


def test_with_an_open_umask_nothing_of_ours_is_for_others_to_write(
    program: Program, endpoint: ScriptedEndpoint
) -> None:
    for folder in (program.config_dir / "presets", program.state_dir, program.cache_dir):
        folder.rmdir()
    write = Say(tools=(("read", {"path": "notes.txt"}), ("write", {"path": "notes.txt", "content": "new"})))
    endpoint.script = Script(models={"worker": Behaviour(steps=(write, Say(text="Done.")))})
    for words in (
        ("run", "--approve", "edits", "write it"),
        ("preset", "new", "mine"),
        ("preset", "copy", "budget", "other"),
    ):
        subprocess.run(
            [str(program.executable), *words],
            cwd=program.work_dir,
            env=program.environment,
            preexec_fn=lambda: os.umask(0) and None,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
            timeout=30,
        )
    found = [path for root in (program.config_dir, program.state_dir, program.cache_dir) for path in root.rglob("*")]
    assert {"mine.toml", "other.toml", "journal.jsonl", "ledger.db"} <= {path.name for path in found}
    given = {path.name: path for path in found if path.name != "config.toml"}
    loose = [str(path) for path in given.values() if stat.S_IMODE(path.lstat().st_mode) & (stat.S_IWGRP | stat.S_IWOTH)]
    assert loose == []


@pytest.mark.parametrize("text", ["/moa on", "/model fake:other", "/nonsense", "/goal do it", "/export x\n"])
@pytest.mark.sample(2)
def test_a_piped_text_is_never_a_command(program: Program, endpoint: ScriptedEndpoint, text: str) -> None:
    done = subprocess.run(
        [str(program.executable), "run", "--model", "fake:say", "-"],
        cwd=program.work_dir, env=program.environment, input=text, text=True, capture_output=True, timeout=30,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert text.strip() in endpoint.calls("say")[0].last_text


@pytest.mark.parametrize(
    "hidden",
    ["env -u MOA_DEPTH", "env -u MOA_DEPTH -u MOA_CHILD", "env MOA_DEPTH=0", "env MOA_DEPTH=", "nohup env MOA_DEPTH=0 sh -c '\"$@\"; true' x", "(env -u MOA_DEPTH"],
)  # fmt: skip
@pytest.mark.sample(2)
def test_a_child_that_hides_how_deep_it_is_convenes_no_panel(
    program: Program, endpoint: ScriptedEndpoint, hidden: str
) -> None:
    program.preset("panel", preset_text(["fake:alpha", "fake:beta"]))
    inner = f"{hidden} {program.executable} run --preset panel --model fake:say hello{')' if hidden.startswith('(') else ''}"
    endpoint.script = Script(
        models={"worker": Behaviour(steps=(Say(tools=(("shell", {"command": inner}),)), Say(text="Done.")))}
    )
    assert program.run("run it", "--approve", "all", timeout_s=60).code == 0
    assert len(endpoint.calls("say")) == 1, "it ran"
    assert not endpoint.calls("alpha") and not endpoint.calls("beta")


def test_a_draft_of_that_name_is_not_followed(program: Program, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("precious")
    for name in ("mine.tmp", ".mine.toml.tmp", "mine.toml.new"):
        (program.config_dir / "presets" / name).symlink_to(target)
    assert program("preset", "new", "mine").code == 0
    assert target.read_text() == "precious"
