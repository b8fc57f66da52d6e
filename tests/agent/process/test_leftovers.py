"""After `kill -9`: what was left running ends at the next start, and nobody else's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from agent.process.leftovers import FOLDER, RunningCommands, sweep
from tests.support.endpoint import ScriptedEndpoint
from tests.support.program import Program
from tests.support.signalling import LEFT, left_running, script, sleeping

OWNER = """
import os, subprocess, sys
from pathlib import Path
from agent.process.leftovers import RunningCommands
running = RunningCommands(Path(sys.argv[1]))
for mark in sys.argv[2:]:
    running.begin(mark, f"sleep for {mark}")
    child = subprocess.Popen(["sleep", "60"], env={**os.environ, "MOA_CHILD": f":{mark}"}, start_new_session=True, stdout=subprocess.DEVNULL)
    while mark.encode() not in Path(f"/proc/{child.pid}/environ").read_bytes():  # it can be read a moment after the program has begun
        os.sched_yield()
    print(child.pid, flush=True)
input()
"""


@pytest.fixture
def owner(tmp_path: Path) -> subprocess.Popen[str]:
    """A process that runs two commands, and what it says."""
    words = [sys.executable, "-c", OWNER, str(tmp_path), "a" * 16, "b" * 16]
    return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")
def test_only_what_the_dead_left_is_ended(tmp_path: Path, owner: subprocess.Popen[str]) -> None:
    assert owner.stdout is not None
    pids = [int(owner.stdout.readline()) for _ in range(2)]
    assert sweep(tmp_path) == []  # it lives
    assert all(map(alive, pids))
    owner.kill()
    owner.communicate()
    told = sweep(tmp_path)
    assert [line.partition("ended: ")[2] for line in told] == [f"sleep for {'a' * 16}", f"sleep for {'b' * 16}"]
    assert not any(map(alive, pids))
    assert sweep(tmp_path) == [] and not list((tmp_path / FOLDER).iterdir())


def alive(pid: int) -> bool:
    """Whether it runs; a zombie does not."""
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] not in "ZX"


def test_what_ended_in_order_leaves_nothing(tmp_path: Path) -> None:
    running = RunningCommands(tmp_path)
    running.begin("c" * 16, "true")
    running.end("c" * 16)
    running.end("c" * 16)
    running.close()
    assert not list((tmp_path / FOLDER).iterdir())


@pytest.mark.parametrize(
    "data", [b"", b"\xff\n", b"[]\n", b'{"mark": 1, "command": "x"}\n', b'{"mark": "" , "command": "x"}\n', b"[" * 9000]
)
def test_a_torn_file_ends_nobody(tmp_path: Path, data: bytes) -> None:
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / "1-x.commands").write_bytes(data)
    assert sweep(tmp_path) == []


def test_a_resumed_run_ends_the_command_before_it_begins(program: Program, endpoint: ScriptedEndpoint) -> None:
    endpoint.script = script()
    child = program.start("run", "--output-format", "json", "--approve", "all", "Do it.")
    endpoint.wait_for(lambda: endpoint.calls())
    while not sleeping():
        os.sched_yield()
    os.kill(child.pid, signal.SIGKILL)
    child.wait(10)
    done = program("run", "-c", "--model", "fake:say", "Go on.")
    assert done.code == 0
    assert f"it was ended: sleep {LEFT}" in done.err
    assert left_running(program) == []
