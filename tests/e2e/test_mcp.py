"""Foreign MCP servers through a whole `moa run`, as a user has them: in config.toml, with approval, over several runs of a session."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.endpoint import ScriptedEndpoint
from tests.support.program import Program, endpoint_config
from tests.support.script import Behaviour, Say, Script

SERVER = Path(__file__).parents[1] / "support" / "foreign_server.py"


def configured(
    program: Program, endpoint: ScriptedEndpoint, mode: str = "good", note: str = "", *, start_s: float = 20
) -> None:
    arguments = json.dumps(["-SE", str(SERVER), mode, note])
    program.config(
        endpoint_config(endpoint.base_url)
        + f"\n[mcp]\nstart_s = {start_s}\n[mcp.servers.it]\ncommand = {json.dumps(sys.executable)}\nargs = {arguments}\n"
    )


def says(endpoint: ScriptedEndpoint, *calls: tuple[str, dict[str, Any]]) -> None:
    steps = (*(Say(tools=(call,)) for call in calls), Say(text="Done."))
    endpoint.script = Script(models={"worker": Behaviour(steps=steps)})


def listed(endpoint: ScriptedEndpoint, call: int = -1) -> list[str]:
    return [tool["function"]["name"] for tool in endpoint.calls("worker")[call].body.get("tools", ())]


def test_the_tools_of_a_server_are_the_models_own(program: Program, endpoint: ScriptedEndpoint) -> None:
    configured(program, endpoint)
    says(endpoint, ("mcp__it__echo", {"text": "hello"}))
    assert program.run("hi", "--approve", "all").result["status"] == "done"
    assert endpoint.calls("worker")[1].body["messages"][-1]["content"] == "you said hello"
    assert listed(endpoint, 0)[-3:] == ["mcp", "mcp__it__echo", "mcp__it__env"] and listed(endpoint, 0) == listed(
        endpoint
    )


@pytest.mark.slow
def test_a_session_that_goes_on_keeps_the_list(program: Program, endpoint: ScriptedEndpoint, tmp_path: Path) -> None:
    configured(program, endpoint)
    says(endpoint, ("mcp__it__echo", {"text": "hello"}))
    first = program.run("hi")
    assert (
        "only tools that change nothing and reach nobody are allowed"
        in endpoint.calls("worker")[1].body["messages"][-1]["content"]
    )
    # Another process. A server that is late keeps its place in the list, to the byte.
    before = endpoint.calls("worker")[-1].body["tools"]
    configured(program, endpoint, "late", str(tmp_path / "never"), start_s=0.2)
    endpoint.clear()
    session = ("--session", first.result["session"], "--approve", "all")
    later = program("run", "again", *session)
    assert later.code == 0 and "not ready after 0.2 s: the MCP server it" in later.err
    assert endpoint.calls("worker")[0].body["tools"] == before
    # A schema that is another by now takes the place of the old one, and that is told: an epoch.
    configured(program, endpoint, "two")
    endpoint.clear()
    changed = program("run", "again", *session)
    assert "the tool mcp__it__echo takes other arguments now" in changed.err
    assert listed(endpoint) == [tool["function"]["name"] for tool in before]
    assert 'the argument "loud" is missing' in endpoint.calls("worker")[1].body["messages"][-1]["content"]


@pytest.mark.slow
def test_what_came_late_is_told_in_the_next_turn_and_joins_no_list(
    program: Program, endpoint: ScriptedEndpoint, tmp_path: Path
) -> None:
    note = tmp_path / "go"
    configured(program, endpoint, "late", str(note), start_s=0.2)
    says(endpoint, ("mcp", {}))
    first = program.run("hi", "--approve", "all")
    assert listed(endpoint)[-1] == "mcp"
    assert endpoint.calls("worker")[1].body["messages"][-1]["content"] == "it: is being started"
    note.touch()
    configured(program, endpoint, "good")
    endpoint.clear()
    says(endpoint, ("mcp", {"server": "it", "tool": "echo", "arguments": {"text": "hello"}}))
    program.run("again", "--session", first.result["session"], "--approve", "all")
    assert listed(endpoint)[-1] == "mcp"
    told = str(endpoint.calls("worker")[0].body["messages"])
    assert "The MCP server it has tools that came after this conversation began: echo, env" in told
    assert endpoint.calls("worker")[1].body["messages"][-1]["content"] == "you said hello"


@pytest.mark.slow
def test_a_command_starts_no_server_and_no_server_lists_no_tool(
    program: Program, endpoint: ScriptedEndpoint, tmp_path: Path
) -> None:
    note = tmp_path / "note"
    configured(program, endpoint, "good", str(note))
    assert program("run", "/help").code == 0
    assert not note.exists()
    program.config(endpoint_config(endpoint.base_url))
    program.run("hi")
    assert "mcp" not in listed(endpoint)
