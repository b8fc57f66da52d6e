"""Another distribution with a package `agent` writes over ours: one line says whose it is and what to do, whatever was to be done."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.support.wheels import Environment, ours, wheel

THEIRS = {"agent/__init__.py": b'"""Somebody else\'s agent."""\n', "agent/memory.py": b"X = 1\n"}
WITHOUT_INIT = {"agent/config/config.py": b"X = 1\n", "agent/events.py": b"X = 1\n"}


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    folder = tmp_path_factory.mktemp("installed")
    made = Environment(folder / "venv")
    made.install(ours(folder))
    return made


def moa(environment: Environment, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The installed command, in folders of its own."""
    env = {f"MOA_{kind}_DIR": str(folder / kind.lower()) for kind in ("CONFIG", "STATE", "CACHE")}
    command = [str(environment.python.parent / "moa"), *words]
    return subprocess.run(command, env=env, cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL)


def broken(environment: Environment, folder: Path, name: str) -> None:
    """Every kind of command says it in one line."""
    for words in ((), ("--version",), ("run", "hello"), ("preset", "list")):
        done = moa(environment, folder, *words)
        assert done.returncode == 1, done
        assert done.stdout == ""
        assert done.stderr.count("\n") == 1, done.stderr
        assert name in done.stderr
        assert "uv tool install moa-agent" in done.stderr
    found = json.loads(moa(environment, folder, "run", "hello", "--output-format", "json").stdout)
    assert (found["status"], found["error"]["kind"]) == ("failed", "overwritten")
    assert name in found["error"]["message"]


@pytest.mark.slow
def test_another_distribution_has_our_package(environment: Environment, tmp_path: Path) -> None:
    assert moa(environment, tmp_path, "preset", "list").returncode == 0
    environment.install(wheel(tmp_path, "hermes-like", THEIRS))
    broken(environment, tmp_path, "hermes-like")
    environment.remove("hermes-like")  # which takes the file that was ours along
    broken(environment, tmp_path, "missing or another's")
    environment.install(ours(tmp_path))
    assert moa(environment, tmp_path, "preset", "list").returncode == 0


@pytest.mark.slow
def test_the_other_moa(environment: Environment, tmp_path: Path) -> None:
    environment.install(wheel(tmp_path, "moa", {"moa/__init__.py": b"version = 1\n"}))
    broken(environment, tmp_path, "another distribution, moa")
    environment.remove("moa")
    environment.install(ours(tmp_path))


@pytest.mark.slow
def test_one_that_overwrites_some_modules_alone(environment: Environment, tmp_path: Path) -> None:
    """Its mark is still there: found out when the first of them fails."""
    environment.install(wheel(tmp_path, "half-an-agent", WITHOUT_INIT))
    done = moa(environment, tmp_path, "preset", "list")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert "half-an-agent" in done.stderr


@pytest.mark.slow
def test_what_is_installed_has_the_same_shape_of_json(environment: Environment, tmp_path: Path) -> None:
    from agent.events import ErrorInfo
    from agent.ui.run.result import result
    from moa.cli import outputs

    found = json.loads(moa(environment, tmp_path, "run", "hello", "--output-format", "json").stdout)
    ours_alone = result(status="failed", error=ErrorInfo(kind="k", message="m"), kinds=outputs.RECORDS)
    assert list(found) == list(ours_alone)
    assert list(found["usage"]) == list(ours_alone["usage"])
