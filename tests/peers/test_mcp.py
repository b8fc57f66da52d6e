"""The reference servers from npm as foreign servers of a whole `moa run`, and the inspector from npm in front of our own server."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.peers.npm import installed
from tests.support.endpoint import ScriptedEndpoint
from tests.support.program import Program, endpoint_config, preset_text
from tests.support.script import ANALYSIS, Behaviour, Say, Script

pytestmark = pytest.mark.alone

peers = pytest.mark.skipif("MOA_TEST_NPM" not in os.environ, reason="MOA_TEST_NPM names no folder with npm packages")


def configured(
    program: Program, endpoint: ScriptedEndpoint, command: Path, *args: str, allow: str, more: str = ""
) -> None:
    program.config(
        f"{endpoint_config(endpoint.base_url)}\n[approve]\nallow = [{allow}]\n[mcp]\nstart_s = 60\n"
        f"[mcp.servers.it]\ncommand = {json.dumps(str(command))}\nargs = {json.dumps(args)}\n{more}"
    )


def results(program: Program, endpoint: ScriptedEndpoint, *calls: tuple[str, dict[str, Any]]) -> list[str]:
    """What the model reads of each call, made one after another in one turn, in mode ask with nobody to be asked."""
    steps = (*(Say(tools=(call,)) for call in calls), Say(text="Done."))
    endpoint.script = Script(models={"worker": Behaviour(steps=steps)})
    done = program.run("Do it.", "--approve", "ask", timeout_s=90)
    assert done.code == 0, done.err + done.out
    last = endpoint.calls("worker")[-1].body["messages"]
    return [str(message["content"]) for message in last if message["role"] == "tool"]


@pytest.mark.slow
def test_server_everything_through_a_whole_run(program: Program, endpoint: ScriptedEndpoint, fetched: Path) -> None:
    command = installed("mcp-server-everything", fetched)
    configured(program, endpoint, command, "stdio", allow='"mcp(it/echo)", "mcp(it/get-t*)", "mcp(it/trigger*)"')
    said = results(
        program,
        endpoint,
        ("mcp__it__echo", {"message": "hello"}),
        ("mcp__it__get-sum", {"a": 1, "b": 2}),
        ("mcp__it__get-tiny-image", {}),
        ("mcp__it__trigger-long-running-operation", {"duration": 0.2, "steps": 2}),
        ("mcp", {"server": "it", "tool": "echo", "arguments": {"message": "the other way"}}),
        ("mcp__it__echo", {"massage": "hello"}),
    )
    assert "Echo: hello" in said[0]
    assert "needs the user's approval" in said[1]
    assert "(image: image/png," in said[2]
    assert "Long running operation completed" in said[3]
    assert "Echo: the other way" in said[4]
    assert 'the argument "message" is missing' in said[5]


@peers
@pytest.mark.slow
def test_server_filesystem_through_a_whole_run(program: Program, endpoint: ScriptedEndpoint) -> None:
    command = installed("mcp-server-filesystem")
    notes, secret = program.work_dir / "notes.txt", program.work_dir / ".env"
    secret.write_text("TOKEN=the token")
    configured(
        program, endpoint, command, "{cwd}", allow='"mcp(it/write_file)"', more='read_only = ["read_*", "list_*"]\n'
    )
    said = results(
        program,
        endpoint,
        ("mcp__it__read_text_file", {"path": str(notes)}),
        ("mcp__it__write_file", {"path": str(program.work_dir / "new.txt"), "content": "new"}),
        ("mcp__it__read_text_file", {"path": str(secret)}),
        ("mcp__it__read_multiple_files", {"paths": [str(notes), str(secret)]}),
        ("mcp__it__move_file", {"source": str(notes), "destination": str(secret)}),
        ("mcp__it__read_text_file", {"path": "/etc/hostname"}),
    )
    assert "line 1: nothing to see" in said[0]
    assert (program.work_dir / "new.txt").read_text() == "new"
    assert "the token" not in "".join(said) and ".env" in said[2] and ".env" in said[3]
    assert notes.exists()
    assert "outside allowed directories" in said[5]


@peers
@pytest.mark.slow
def test_the_inspector_lists_and_calls_our_tools(program: Program, endpoint: ScriptedEndpoint) -> None:
    inspector = installed("mcp-inspector")
    program.preset("panel", preset_text(["fake:alpha", "fake:beta"]))
    endpoint.script = Script(models={"worker": Behaviour(steps=(Say(analysis=ANALYSIS),))})

    def inspect(*words: str) -> dict[str, Any]:
        variables = [f"{name}={value}" for name, value in program.environment.items()]
        given = [word for variable in variables for word in ("-e", variable)]
        command = [str(inspector), "--cli", *given, str(program.executable), "mcp", "serve", "--method", *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, cwd=program.work_dir)
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    assert [tool["name"] for tool in inspect("tools/list")["tools"]] == ["consult", "presets", "activity"]
    asked = ("--tool-name", "consult", "--tool-arg", "question=Which way?", "preset=panel")
    found = inspect("tools/call", *asked)
    assert not found["isError"] and ANALYSIS["consensus"][0] in found["content"][0]["text"]
