"""Tools that come after a conversation began, where the endpoint takes them in the middle: they join without touching what was sent."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.test_mcp import SERVER
from tests.support.exchange import Exchange
from tests.support.preserved import BoundWorld, sequence, texts
from tests.support.script import Say

CAME = "The MCP server it has tools that came after this conversation began: echo, env"


def served(world: BoundWorld, mode: str, note: Path) -> None:
    """A foreign server in config.toml; `late` is ready as soon as `note` is there."""
    start = 0.05 if mode == "late" and not note.exists() else 20
    arguments = json.dumps(["-SE", str(SERVER), mode, str(note)])
    world.configure()
    world.config += (
        f"[mcp]\nstart_s = {start}\n[mcp.servers.it]\ncommand = {json.dumps(sys.executable)}\nargs = {arguments}\n"
    )
    world.program.config(world.config)


def joined(call: Exchange) -> list[dict[str, Any]]:
    """The definitions that a request has within its messages."""
    return [
        block["tool"]["definition"]
        for message in call.body["messages"]
        if message["role"] == "system"
        for block in message["content"]
    ]


def called(name: str, **arguments: Any) -> tuple[Say, Say]:
    return Say(tools=((name, arguments),)), Say(text="Done.")


def through_mcp(body: Mapping[str, Any], _earlier: int) -> Say:
    """It calls what came late as soon as it has heard of it, once."""
    heard, done = (words in json.dumps(body) for words in (CAME, "you said a"))
    call = ("mcp", {"server": "it", "tool": "echo", "arguments": {"text": "a"}})
    return Say(tools=(call,)) if heard and not done else Say(text="Done.")


def test_a_late_tool_joins_the_messages_and_nothing_before_it_changes(tmp_path: Path) -> None:
    note = tmp_path / "go"
    echo = called("mcp__it__echo", text="hello")
    with BoundWorld(tmp_path, "anthropic") as world:
        world.preset(cadence="iteration")
        world.script(main=sequence(Say(text="Well."), *echo, *echo, *echo))
        served(world, "late", note)
        session = world.run("Hi.").result["session"]
        note.touch()
        served(world, "late", note)
        for words in ("Go on.", "And on."):
            world.run(words, "--session", session, "--approve", "all")
        first, *later = world.calls()
        assert not joined(first) and "anthropic-beta" not in first.headers
        assert [[tool["name"] for tool in joined(call)] for call in later] == [["mcp__it__echo", "mcp__it__env"]] * 4
        assert texts(later[-1]).count(CAME) == 1 and "you said hello" in texts(later[1])
        assert all("mcp__it__echo" not in [tool["name"] for tool in call.body["tools"]] for call in later)
        # A schema that has changed by then is brought again; the list and all that was sent stay as they were.
        served(world, "two", note)
        world.run("Once more.", "--session", session, "--approve", "all")
        assert 'the argument "loud" is missing' in texts(world.calls()[-1])
        assert [len(joined(call)) for call in world.calls()[-2:]] == [4, 4]
        world.holds()


def test_a_compaction_takes_them_away_and_the_next_turn_brings_them_again(tmp_path: Path) -> None:
    note = tmp_path / "go"
    with BoundWorld(tmp_path, "anthropic") as world:
        world.preset(cadence="iteration")
        world.script(main=sequence(Say(text="Well.")))
        served(world, "late", note)
        session = world.run("Hi.").result["session"]
        note.touch()
        served(world, "late", note)
        world.run("Go on.", "--session", session)
        start = world.next
        world.chat("/compact", "And now?", "And then?", session=session)
        last = [call for call in world.calls() if call.number > start]
        assert [len(joined(call)) for call in last] == [2, 2] and texts(last[-1]).count(CAME) == 1
        world.holds(linear=False, epochs=[start, start + 1])


@pytest.mark.sample(1)
@pytest.mark.parametrize("wire", ["anthropic", "messages", "chat"])
def test_where_they_are_not_taken_the_listed_tool_reaches_them(tmp_path: Path, wire: str) -> None:
    """A refusal is one adapted resend, once for that endpoint and model; elsewhere nothing is tried."""
    note = tmp_path / "go"
    with BoundWorld(tmp_path, wire) as world:
        world.endpoint.takes_late_tools = False
        world.preset(cadence="iteration")
        world.script(main=through_mcp)
        served(world, "late", note)
        session = world.run("Hi.").result["session"]
        note.touch()
        served(world, "late", note)
        world.run("Go on.", "--session", session, "--approve", "all")
        world.run("And on.", "--session", session)
        calls = world.calls()
        assert [call.status for call in calls].count(400) == (wire == "anthropic")
        assert not any(joined(call) for call in calls[2:] if wire != "chat")
        assert CAME in texts(calls[-1]) and "you said a" in texts(calls[-1])
        resent = [call.number + 1 for call in calls if call.status == 400]
        world.holds(linear=False, epochs=resent)
