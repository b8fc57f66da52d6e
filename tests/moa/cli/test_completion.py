"""`moa completion`: the scripts, in the shells themselves where they are installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from argparse import SUPPRESS
from pathlib import Path

import pytest

from agent.errors import UsageError
from moa.cli import completion, walk
from moa.cli.main import main
from moa.cli.options import parse, whole_parser

BASH = r"""
source "$1"
f=$(complete -p moa | sed 's/.*-F \([^ ]*\).*/\1/')
while read -r -a words; do
    COMP_WORDS=("${words[@]//_/}"); COMP_CWORD=$((${#words[@]} - 1)); COMPREPLY=()
    $f moa "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
    echo "${COMPREPLY[*]}"
done
"""
ROWS = (
    ("moa ru", "run"),
    ("moa preset _", "list show check new copy edit remove import export"),
    ("moa run --approve e", "edits"),
    ("moa config schema _", "config preset"),
    ("moa run --preset qu", "quality"),
    ("moa re", "replay"),
    ("moa bench run hu", "humaneval"),
    ("moa models list openr", "openrouter"),
    ("moa models fetch _", "smollm2"),
)


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    folders = {f"MOA_{name}_DIR": str(tmp_path / name.lower()) for name in ("CONFIG", "STATE", "CACHE")}
    return {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "HOME": str(tmp_path), **folders}


def test_bash_completes_commands_options_and_names(env: dict[str, str], tmp_path: Path) -> None:
    script = tmp_path / "moa.bash"
    script.write_text(completion.script("bash", whole_parser()))
    typed = "".join(f"{words}\n" for words, _ in ROWS)
    said = subprocess.run(
        ["bash", "-c", BASH, "bash", script], input=typed, env=env, capture_output=True, text=True, check=True
    )
    assert said.stdout.splitlines() == [offered for _, offered in ROWS], said.stderr


def test_a_name_that_an_endpoint_or_a_file_has_runs_nothing(env: dict[str, str], tmp_path: Path) -> None:
    folder, sessions = Path(env["MOA_CONFIG_DIR"]), Path(env["MOA_STATE_DIR"]) / "sessions"
    folder.mkdir()
    sessions.mkdir(parents=True)
    (folder / "config.toml").write_text(
        '[endpoints.mine]\nbase_url = "http://127.0.0.1:1"\nmodels."a/b-1" = {}\n'
        """models."x$(touch pwned)" = {}\nmodels."y`touch pwned`" = {}\nmodels."z'; touch pwned #" = {}\n"""
    )
    (sessions / "s$(touch pwned).jsonl").write_text("")
    script = tmp_path / "moa.bash"
    script.write_text(completion.script("bash", whole_parser()))
    typed = "moa run --model mine:\nmoa session show s\n"
    said = subprocess.run(
        ["bash", "-c", BASH, "bash", script], input=typed, env=env, cwd=tmp_path, capture_output=True, text=True
    )
    assert said.stdout.splitlines() == ["mine:a/b-1", ""] and not (tmp_path / "pwned").exists()


def test_bash_completes_every_command_and_option_that_there_is(env: dict[str, str], tmp_path: Path) -> None:
    script = tmp_path / "moa.bash"
    script.write_text(completion.script("bash", whole_parser()))
    typed, expected = [], []
    for parser in walk.whole(whole_parser()):
        words, commands = parser.prog, walk.verbs(parser)
        shown = [action for action in walk.arguments(parser) if action.help != SUPPRESS]
        options = {name for action in shown for name in action.option_strings if name.startswith("--")}
        typed += [f"{words} _" if commands else f"{words} --", f"{words} --"]
        expected += [set(commands) or options, options]
    said = subprocess.run(
        ["bash", "-c", BASH, "bash", script], input="\n".join(typed) + "\n", env=env, capture_output=True, text=True
    )
    offered = [set(line.split()) for line in said.stdout.splitlines()]
    missing = {words: wanted - found for words, wanted, found in zip(typed, expected, offered, strict=True)}
    assert not {words: names for words, names in missing.items() if names}


@pytest.mark.slow
@pytest.mark.parametrize("shell", completion.SHELLS)
def test_a_shell_reads_its_script(shell: str, env: dict[str, str], tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    script = tmp_path / "script"
    script.write_text(completion.script(shell, whole_parser()))
    subprocess.run([shell, "-n", script], env=env, check=True)
    if shell == "fish":
        ask = f"source {script}; complete -C 'moa run --preset qu'"
        found = subprocess.run(["fish", "-c", ask], env=env, capture_output=True, text=True, check=True)
        assert found.stdout.split()[:1] == ["quality"]


def test_names_are_what_there_is(
    env: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    folder = Path(env["MOA_CONFIG_DIR"])
    folder.mkdir()
    (folder / "config.toml").write_text(
        '[endpoints.mine]\nbase_url = "http://127.0.0.1:1"\nmodels.small = {}\n[mcp.servers.files]\ncommand = "x"\n'
    )
    sessions = Path(env["MOA_STATE_DIR"]) / "sessions"
    sessions.mkdir(parents=True)
    (sessions / "20260101-000000-aaaa.jsonl").write_text("")
    assert "budget" in completion.names("presets") and completion.names("servers") == ["files"]
    assert completion.names("sessions") == ["20260101-000000-aaaa"]
    models = completion.names("models")
    assert "mine:small" in models and "fuse/budget" in models
    assert main(["completion", "--names", "servers"]) == 0 and capsys.readouterr().out == "files\n"


def test_a_shell_must_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion"]) == 2 and "moa completion bash | zsh | fish" in capsys.readouterr().err
    with pytest.raises(UsageError, match="no names of the kind"):
        completion.names("cats")
    with pytest.raises(UsageError, match="invalid choice"):
        parse(["completion", "csh"])
