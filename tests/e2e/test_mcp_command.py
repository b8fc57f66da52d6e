"""`moa mcp list | add | remove | test`, and the servers of a project, before and after it is trusted."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.support.program import Program

SERVER = str(Path(__file__).parents[1] / "support" / "foreign_server.py")


@pytest.mark.slow
def test_a_server_is_added_tested_and_removed(program: Program) -> None:
    before = (program.config_dir / "config.toml").read_text() + "# a note of mine\n"
    program.config(before)
    added = program(
        "mcp", "add", "--env", "API_KEY=${SOME_KEY:-k-12345678}", "it", sys.executable, "-SE", SERVER, "good"
    )
    assert added.code == 0 and "moa mcp test it" in added.out, added.err
    again = program("mcp", "add", "it", "x")
    assert again.code == 2 and "there is a server it already" in again.err
    listed = program("mcp", "list")
    assert f"{sys.executable} -SE {SERVER} good" in listed.out and "k-12345678" not in listed.out
    tested = program("mcp", "test", "--json")
    (row,) = json.loads(tested.out)["servers"]
    assert tested.code == 0 and row["ok"] and row["tools"] == ["echo", "env"]
    assert program("mcp", "remove", "it").code == 0
    assert (program.config_dir / "config.toml").read_text() == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("add", "it"), "the command or the address is missing"),
        (("add", "a b", "x"), "not a usable name"),
        (("add", "it", "./x"), "a path that depends on the folder"),
        (("add", "--env", "A", "it", "x"), "'A' has no = in it"),
        (("add", "--type", "sse", "it", "x"), "leave it out"),
        (("remove", "it"), "there is no server it"),
        (("test", "it"), "there is no server it"),
        (("tset",), "invalid choice"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_written(program: Program, words: tuple[str, ...], problem: str) -> None:
    before = (program.config_dir / "config.toml").read_text()
    done = program("mcp", *words)
    assert done.code == 2 and problem in done.err
    assert (program.config_dir / "config.toml").read_text() == before


@pytest.mark.slow
def test_a_server_that_does_not_work_is_exit_code_1(program: Program) -> None:
    program("mcp", "add", "it", sys.executable, "-SE", SERVER, "dead")
    done = program("mcp", "test")
    assert done.code == 1 and "cannot open the database" in done.out


@pytest.mark.slow
def test_a_projects_servers_are_inert_until_it_is_trusted(program: Program) -> None:
    folder = program.work_dir / ".moa"
    folder.mkdir()
    lines = (
        f"[mcp.servers.theirs]\ncommand = {json.dumps(sys.executable)}\nargs = {json.dumps(['-SE', SERVER, 'good'])}\n"
    )
    (folder / "config.toml").write_text(lines)
    inert = program("mcp", "list")
    assert "theirs" not in inert.out and "moa trust" in inert.out
    trusted = program("trust", "--yes")
    assert "MCP server theirs, which is started or reached: " in trusted.out
    assert "theirs" in program("mcp", "list").out
    assert json.loads(program("mcp", "test", "--json").out)["servers"][0]["ok"]
    (folder / "config.toml").write_text(lines + 'env = { A = "b" }\n')
    assert "theirs" not in program("mcp", "list").out
