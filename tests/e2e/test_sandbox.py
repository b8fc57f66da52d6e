"""From outside: what a goal may do where nobody watches, and a task that is handed on."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from agent.sandbox import bubblewrap
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


@real
@pytest.mark.parametrize("mode", ["edits", "all"])
def test_a_gate_is_confined_in_every_mode(
    program: Program, endpoint: ScriptedEndpoint, tmp_path: Path, mode: str
) -> None:
    """A gate runs what the model wrote."""
    gated = tmp_path / "gated"
    write = ("write", {"path": "check.sh", "content": f"echo planted > {gated}; cat {program.home}/letter.txt; true"})
    (program.home / "letter.txt").write_text("dear diary")
    endpoint.script = Script(
        models={"worker": Behaviour(steps=(Say(tools=(write,)), Say(text="All done.", analysis=MET)))}
    )
    *_, last = streamed(program, "--goal", "--approve", mode, "--gate", "sh check.sh", "make the file")
    assert last["status"] == "done" and not gated.exists()


@pytest.mark.parametrize("mode", ["deny", "edits", "all"])
def test_in_a_goal_file_tools_keep_to_the_project_in_every_mode(
    program: Program, endpoint: ScriptedEndpoint, mode: str
) -> None:
    config = program.config_dir / "config.toml"
    (program.home / ".ssh").mkdir()
    (program.home / ".ssh" / "id_rsa").write_text("the private key")
    tried = (
        ("read", {"path": "~/.ssh/id_rsa"}),
        ("grep", {"pattern": "private", "path": str(program.home)}),
        ("write", {"path": "~/.bashrc", "content": "planted"}),
        ("write", {"path": ".git/hooks/post-commit", "content": "planted"}),
        ("edit", {"path": str(config), "old": "http", "new": "planted"}),
    )
    endpoint.script = Script(
        models={"worker": Behaviour(steps=(Say(tools=tried), Say(text="All done.", analysis=MET)))}
    )
    *events, last = streamed(program, "--goal", "--approve", mode, "try it")
    assert last["status"] == "done"
    finished = [event for event in events if event["type"] == "tool_finished"]
    assert len(finished) == 5 and all(event["outcome"] in ("error", "denied") for event in finished)
    assert "the private key" not in json.dumps(events)
    assert not (program.home / ".bashrc").exists() and "planted" not in config.read_text()
    assert not (program.work_dir / ".git").exists()


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
