"""Ctrl+C and worse: sockets are closed, one object is written, and no call is unaccounted."""

from __future__ import annotations

import os
import signal
import subprocess
import time

import pytest

from tests.support.contract import checked
from tests.support.endpoint import ScriptedEndpoint
from tests.support.processes import alive
from tests.support.program import Finished, Program, end, preset_text
from tests.support.waiting import LONG_S, wait_until


def stop(child: subprocess.Popen[str], how: signal.Signals) -> Finished:
    """Send a signal to the program alone (not to its group), and wait for its end. Its output is the last line."""
    started = time.monotonic()
    os.kill(child.pid, how)
    try:
        out, err = child.communicate(timeout=LONG_S)
    finally:
        end(child)
    return Finished(child.returncode, out.strip().rpartition("\n")[2], err, started, time.monotonic() - started)


@pytest.mark.sample(2)
@pytest.mark.parametrize(
    ("shape", "how"),
    [("hang", signal.SIGINT), ("mute", signal.SIGINT), ("stall", signal.SIGINT), ("stall", signal.SIGTERM)],
)
def test_an_interrupt_closes_the_socket(
    program: Program, endpoint: ScriptedEndpoint, shape: str, how: signal.Signals
) -> None:
    """How long that takes is measured by the bench `signals`."""
    child = program.start("run", "--output-format", "stream-json", "--model", f"fake:shape-{shape}", "hello")
    assert child.stdout is not None
    before = ""
    while '"text_delta"' not in before if shape == "stall" else '"model_started"' not in before:
        before += child.stdout.readline()
    endpoint.wait_for(lambda: endpoint.calls() and endpoint.calls()[0].status)
    done = stop(child, how)
    result = checked(done, "interrupted", "interrupted")
    (call,) = endpoint.calls()
    endpoint.wait_for(lambda: call.disconnected is not None)
    assert [row["outcome"] for row in result["calls"]] == ["cancelled"]
    assert result["text"] == ("These words arrive and then it breaks." if shape == "stall" else "")


def test_an_interrupt_in_mid_counsel_closes_every_socket(program: Program, endpoint: ScriptedEndpoint) -> None:
    program.preset("hung", preset_text(["fake:shape-hang", "fake:shape-mute", "fake:shape-stall"]))
    child = program.start("run", "--output-format", "json", "--preset", "hung", "hello")
    endpoint.wait_for(lambda: len([call for call in endpoint.calls() if call.status]) == 3)
    done = stop(child, signal.SIGINT)
    result = checked(done, "interrupted")
    endpoint.wait_for(lambda: all(call.disconnected for call in endpoint.calls()))
    assert sorted(row["outcome"] for row in result["calls"]) == ["cancelled"] * 3
    assert endpoint.calls("worker") == []


def test_an_interrupt_ends_what_the_shell_started(program: Program, endpoint: ScriptedEndpoint) -> None:
    from tests.support.script import Behaviour, Say, Script

    mark = program.work_dir / "child.pid"
    command = f"sleep 1000 & echo $! > {mark}; wait"
    loop = (Say(tools=(("shell", {"command": command}),)), Say(text="end"))
    endpoint.script = Script(models={"worker": Behaviour(steps=loop)})
    child = program.start("run", "--output-format", "json", "--approve", "all", "hello")
    wait_until(lambda: mark.exists() and mark.read_text().strip())
    done = stop(child, signal.SIGINT)
    checked(done, "interrupted")
    pid = int(mark.read_text())
    wait_until(lambda: not alive(pid))


def test_kill_9_in_mid_counsel_leaves_no_call_unaccounted(program: Program, endpoint: ScriptedEndpoint) -> None:
    program.preset("hung", preset_text(["fake:say", "fake:shape-hang", "fake:shape-mute", "fake:shape-stall"]))
    child = program.start("run", "--output-format", "json", "--preset", "hung", "hello")
    endpoint.wait_for(lambda: len([call for call in endpoint.calls() if call.status]) == 4)
    stop(child, signal.SIGKILL)
    rows = program.activity()
    assert sorted(row["model_requested"] for row in rows) == sorted(call.model for call in endpoint.calls())
    outcomes = {row["model_requested"]: row["outcome"] for row in rows}
    assert outcomes.pop("say") in ("done", "unknown")
    assert set(outcomes.values()) == {"unknown"}
    assert {row["cost_usd"] for row in rows} == {None}


@pytest.mark.slow
def test_the_session_can_go_on_after_a_kill(program: Program, endpoint: ScriptedEndpoint) -> None:
    child = program.start("run", "--output-format", "json", "--model", "fake:shape-stall", "Remember the word heron.")
    endpoint.wait_for(lambda: endpoint.calls() and endpoint.calls()[0].first_token)
    stop(child, signal.SIGKILL)
    done = program.run("Go on.", "-c", "--model", "fake:say")
    checked(done, "done")
    assert "heron" in str(endpoint.calls("say")[0].body["messages"])
