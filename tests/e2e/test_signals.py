"""Signals × moments: one object, no child of an ended program, a terminal as it was found. `python -m tests.bench signals` has more."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.contract import checked
from tests.support.endpoint import ScriptedEndpoint
from tests.support.processes import children
from tests.support.program import Finished, Program
from tests.support.script import Behaviour, Say, Script
from tests.support.signalling import one_round, script
from tests.support.terminal import Terminal

pytestmark = pytest.mark.alone


@pytest.mark.sample(4)
@pytest.mark.parametrize(
    ("face", "how", "moment"),
    [
        ("run", "TERM", "start"),
        pytest.param("run", "HUP", "start", marks=pytest.mark.slow),
        ("run", "QUIT", "answer"),
        pytest.param("run", "HUP", "command", marks=pytest.mark.slow),
        pytest.param("run", "CLOSE", "command", marks=pytest.mark.slow),
        ("run", "STOP+CONT", "command"),
        pytest.param("goal", "TERM", "command", marks=pytest.mark.slow),
        ("chat", "CLOSE", "command"),
        pytest.param("chat", "QUIT", "command", marks=pytest.mark.slow),
        pytest.param("chat", "CONT", "answer", marks=pytest.mark.slow),
        pytest.param("chat", "STOP+CONT", "answer", marks=pytest.mark.slow),
        pytest.param("chat", "TSTP+CONT", "answer", marks=pytest.mark.slow),
        ("chat", "STUCK", "answer"),
        ("plain", "CLOSE", "answer"),
        pytest.param("plain", "QUIT", "command", marks=pytest.mark.slow),
    ],
)
def test_it_ends_in_order(program: Program, endpoint: ScriptedEndpoint, face: str, how: str, moment: str) -> None:
    endpoint.script = script()
    assert one_round(program, endpoint, face, how, moment, delay_s=0.3 if moment == "start" else 0.05).problems == []


@pytest.mark.parametrize("again", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_second_signal_adds_nothing(program: Program, endpoint: ScriptedEndpoint, again: signal.Signals) -> None:
    child = program.start("run", "--output-format", "json", "--model", "fake:shape-stall", "hello")
    endpoint.wait_for(lambda: endpoint.calls() and endpoint.calls()[0].first_token)
    os.kill(child.pid, signal.SIGTERM)
    while child.poll() is None:
        os.kill(child.pid, again)
    out, err = child.communicate(timeout=10)
    checked(Finished(child.returncode, out, err, 0.0, 0.0), "interrupted", "interrupted")


def test_a_hang_up_that_is_ignored_changes_nothing(program: Program, endpoint: ScriptedEndpoint) -> None:
    endpoint.script = Script(models={"worker": Behaviour(steps=(Say(text="All done.", spread_s=0.5),))})
    child = subprocess.Popen(
        ["nohup", str(program.executable), "run", "--output-format", "json", "hello"],
        cwd=program.work_dir,
        env=program.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    endpoint.wait_for(lambda: endpoint.calls() and endpoint.calls()[0].first_token)
    os.kill(child.pid, signal.SIGHUP)
    out, err = child.communicate(timeout=20)
    assert checked(Finished(child.returncode, out, err, 0.0, 0.0), "done")["text"] == "All done."


@pytest.mark.skipif(not Path("/bin/bash").exists(), reason="needs a shell with job control")
@pytest.mark.parametrize("how", ["TSTP", "STOP"])
def test_fg_brings_the_whole_screen_back(program: Program, how: str) -> None:
    environment = {**program.environment, "TERM": "xterm-256color", "PS1": "$ "}
    with Terminal(["/bin/bash", "--norc", "-i"], environment, program.work_dir) as terminal:
        terminal.send("stty -a >before\r")
        terminal.send(f"{program.executable}\r")
        terminal.wait_for("commands")
        terminal.send("heron")
        terminal.wait_for("heron")
        (pid,) = children(terminal.process.pid)
        os.kill(pid, getattr(signal, f"SIG{how}"))
        terminal.wait_for("Stopped")
        seen = len(terminal.raw)
        terminal.send("fg\r")
        terminal.wait_for("heron", after=seen)
        threads = len(os.listdir(f"/proc/{pid}/task"))  # noqa: PTH208
        os.kill(pid, signal.SIGCONT)
        terminal.send(" and crane")
        terminal.wait_for("crane", after=seen)
        assert len(os.listdir(f"/proc/{pid}/task")) == threads  # noqa: PTH208
        os.kill(pid, signal.SIGTERM)
        terminal.wait_for("$ ", after=len(terminal.raw))
        terminal.send("stty -a >after; echo the end | tr a-z A-Z\r")
        terminal.wait_for("THE END")
    assert (program.work_dir / "before").read_text() == (program.work_dir / "after").read_text()
