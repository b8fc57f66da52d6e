"""From outside: what a goal may do where nobody watches, and a task that is handed on."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from agent import bubblewrap
from tests.support.endpoint import ScriptedEndpoint
from tests.support.program import Program, endpoint_config
from tests.support.script import Behaviour, Say, Script

PROBLEM = asyncio.run(bubblewrap.probe())
real = pytest.mark.skipif(PROBLEM is not None, reason=f"no sandbox here: {PROBLEM}")
MET = {"verdict": "done", "reason": "it is there", "unmet": [], "wait_s": 0}


def shell_then_done(command: str) -> Script:
    steps = (Say(tools=(("shell", {"command": command}),)), Say(text="All done.", analysis=MET))
    return Script(models={"worker": Behaviour(steps=steps)})


def streamed(program: Program, *arguments: str) -> list[dict[str, Any]]:
    """The events of a run, and its result as the last."""
    return program("run", "--output-format", "stream-json", *arguments).lines


@real
def test_a_goal_with_approve_all_is_confined_and_its_gates_too(
    program: Program, endpoint: ScriptedEndpoint, tmp_path: Path
) -> None:
    outside, gated = tmp_path / "outside", tmp_path / "gated"
    endpoint.script = shell_then_done(f"touch {outside}; echo made > made.txt; ls -A ~")
    (program.home / "letter.txt").write_text("dear diary")
    gate = f"touch {gated} 2>/dev/null; test -f made.txt"
    *events, last = streamed(program, "--goal", "--approve", "all", "--gate", gate, "make the file")
    assert last["status"] == "done"
    assert [event["source"] for event in events if event.get("code") == "sandbox"] == ["sandbox"]
    assert (program.work_dir / "made.txt").exists()
    assert not outside.exists() and not gated.exists()
    assert "letter.txt" not in json.dumps(endpoint.calls("worker")[1].body)


def test_without_a_goal_a_command_runs_as_ever(program: Program, endpoint: ScriptedEndpoint, tmp_path: Path) -> None:
    endpoint.script = shell_then_done(f"touch {tmp_path}/outside")
    *events, last = streamed(program, "--approve", "all", "make the file")
    assert last["status"] == "done" and (tmp_path / "outside").exists()
    assert not [event for event in events if event["type"] == "notice"]


def test_a_delegated_task_is_side_work_with_its_bill(program: Program, endpoint: ScriptedEndpoint) -> None:
    endpoint.script = Script(
        models={
            "worker": Behaviour(steps=(Say(tools=(("delegate", {"task": "read notes.txt"}),)), Say(text="Nothing."))),
            "cheap": Behaviour(steps=(Say(tools=(("read", {"path": "notes.txt"}),)), Say(text="Forty dull lines."))),
        }
    )
    program.config(endpoint_config(endpoint.base_url) + '[delegate]\nmodel = "fake:cheap"\n')
    *events, last = streamed(program, "what is in the notes?")
    assert (last["status"], last["text"]) == ("done", "Nothing.")
    assert [call["purpose"] for call in last["calls"]] == ["main", "delegate", "delegate", "main"]
    side = next(event for event in events if event["type"] == "side_started")
    assert (side["kind"], side["model"]) == ("delegate", "fake:cheap")
    assert [event["type"] for event in events if event["source"] == side["id"]] == ["tool_started", "tool_finished"]
    finished = next(event for event in events if event["type"] == "side_finished")
    assert finished["text"] == "Forty dull lines."
