"""A fork of the loaded process is what a start would have been."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import warm
from tests.support.endpoint import ScriptedEndpoint
from tests.support.program import Program

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="starts are real elsewhere")


@pytest.mark.parametrize(
    "words",
    [
        ("--version",),
        ("preset", "list"),
        ("preset", "show", "nothing"),
        ("run", "--frobnicate", "hello"),
        ("run", "--output-format", "json", "--model", "fake:fail-401", "hello"),
        ("completion", "--names", "presets"),
    ],
)
def test_it_says_and_ends_the_same(program: Program, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]) -> None:
    forked = program(*words)
    monkeypatch.setenv("MOA_TEST_COLD", "1")
    started = program(*words)
    said = [(done.code, *(_without_ids(text) for text in (done.out, done.err))) for done in (forked, started)]
    assert said[0] == said[1]


def _without_ids(text: str) -> list[str]:
    return [word for word in text.split() if not any(letter.isdigit() for letter in word)]


@pytest.mark.parametrize(
    "env",
    [{"PYTHONUTF8": "0"}, {"LC_ALL": "C"}, {"LANG": "C"}, {"MALLOC_ARENA_MAX": "1"}],
    ids=lambda env: next(iter(env)),
)
def test_an_interpreter_that_is_told_otherwise_is_started(program: Program, env: dict[str, str]) -> None:
    command = [str(program.executable)]
    assert warm.can_fork(command, program.environment)
    assert not warm.can_fork(command, {**program.environment, **env})
    assert not warm.can_fork([sys.executable], program.environment)


def test_it_is_a_process_of_its_own(program: Program, endpoint: ScriptedEndpoint) -> None:
    before = os.umask(0o077)
    try:
        child = program.start("run", "--output-format", "json", "--model", "fake:shape-stall", "hello")
    finally:
        os.umask(before)
    endpoint.wait_for(lambda: endpoint.calls() and endpoint.calls()[0].first_token)
    kept = Path(f"/proc/{child.pid}")
    assert os.getpgid(child.pid) == os.getsid(child.pid) == child.pid != os.getsid(0)
    assert (kept / "cwd").resolve() == program.work_dir
    assert "Umask:\t0077" in (kept / "status").read_text()
    with pytest.raises(subprocess.TimeoutExpired):
        child.wait(0)
    child.send_signal(signal.SIGKILL)
    assert child.wait(10) == child.poll() == -signal.SIGKILL
