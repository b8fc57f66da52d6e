"""`moa` as somebody at a terminal has it: line mode in a real pseudo-terminal, against the scripted endpoint."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Mapping

import pytest

from tests.support.endpoint import ScriptedEndpoint
from tests.support.program import Program, preset_text
from tests.support.script import Behaviour, Say, Script
from tests.support.terminal import Terminal


def start(
    program: Program, *options: str, term: str = "xterm-256color", env: Mapping[str, str] | None = None
) -> Terminal:
    environment = {**program.environment, "TERM": term, **(env or {})}
    return Terminal([str(program.executable), *options], environment, program.work_dir)


def said(program: Program) -> list[tuple[str, str]]:
    """The messages of the one session that there is: (role, text)."""
    (path,) = (program.state_dir / "sessions").glob("*.jsonl")
    entries = [json.loads(line)["entry"] for line in path.read_text().splitlines()]
    messages = [entry["message"] for entry in entries if entry["type"] == "message"]
    return [(m["role"], "".join(p.get("text", "") for p in m["parts"])) for m in messages if m["role"] != "system"]


def test_a_conversation_its_end_and_how_it_goes_on(program: Program, endpoint: ScriptedEndpoint) -> None:
    answers = Say(text="# A heading\n\n- one\n- `two`\n\nThat is **all**.\n", cost=0.002)
    endpoint.script = Script(models={"worker": Behaviour(steps=(answers,))})
    with start(program, "--plain") as terminal:
        terminal.wait_for("/help")
        terminal.send("hello there\r")
        terminal.wait_for("That is all.")
        terminal.wait_for("$0.002")
        terminal.send("/cost\r")
        terminal.wait_for("this conversation")
        terminal.send("/quit\r")
        assert terminal.end() == 0
        again = re.search(r"resume with: (moa --resume \S+)", terminal.text)
    assert again is not None
    assert said(program)[0] == ("user", "hello there")
    assert "**" not in terminal.text, "Markdown is set, not printed as it is"
    with start(program, *again[1].split()[1:], "--plain") as terminal:
        terminal.wait_for("That is all.")
        terminal.send("\x04")
        assert terminal.end() == 0


def test_counsel_is_told_of_as_it_comes(program: Program) -> None:
    program.preset("panel", preset_text(["fake:slow-0.2", "fake:alpha", "fake:fail-400"], aggregate="raw"))
    with start(program, "--plain", "--preset", "panel", "--model", "fake:plain") as terminal:
        terminal.wait_for("/help")
        terminal.send("hello\r")
        terminal.wait_for("not now")  # who will receive the conversation
        terminal.send("1\r")
        terminal.wait_for("counsel panel: 2 of 3 answered")
        terminal.wait_for("tokens,")
        terminal.send("/moa status\r")
        terminal.wait_for("it is sent to")
        terminal.send("\x04")
        assert terminal.end() == 0
    assert terminal.text.count("answered (") == 2 and terminal.text.count("member 3 fail-400 failed (") == 1


def test_keys_that_are_typed_while_lines_are_printed_are_keys(program: Program, endpoint: ScriptedEndpoint) -> None:
    lines = Say(text="\n\n".join(f"line {number}." for number in range(2000)), spread_s=40.0)
    endpoint.script = Script(models={"worker": Behaviour(steps=(lines,))})
    with start(program, "--plain") as terminal:
        terminal.wait_for("/help")
        terminal.send("hello\r")
        for number in range(100):
            terminal.wait_for(f"line {number}.")
            terminal.send(f"{number}\r")
        terminal.wait_for("100 queued")
        terminal.send("\x1b")
        terminal.wait_for("stopped")
        terminal.send("\x03\x04")  # what was queued stands in the prompt; Ctrl+D leaves an empty one
        assert terminal.end() == 0


def test_a_dumb_terminal_is_drawn_on_once(program: Program, endpoint: ScriptedEndpoint) -> None:
    write = (Say(tools=(("write", {"path": "a.txt", "content": "x\n"}),)), Say(text="**Done.**"))
    endpoint.script = Script(models={"worker": Behaviour(steps=write)})
    with start(program, term="dumb") as terminal:
        terminal.wait_for("/help")
        terminal.send("write it\n")
        terminal.wait_for("2 and 3 allow")
        terminal.send("1\n")
        terminal.wait_for("**Done.**")
        terminal.wait_for("tokens,")
        terminal.send("/quit\n")
        assert terminal.end() == 0
    assert "\x1b" not in terminal.raw
    assert (program.work_dir / "a.txt").read_text() == "x\n"


def test_ctrl_c_in_a_dumb_terminal_stops_and_then_leaves(program: Program, endpoint: ScriptedEndpoint) -> None:
    with start(program, "--model", "fake:shape-stall", term="dumb") as terminal:
        terminal.wait_for("/help")
        terminal.send("hello\n")
        endpoint.wait_for(lambda: endpoint.calls() and endpoint.calls()[0].first_token)
        terminal.send("more\n")
        terminal.wait_for("queued: more")
        terminal.send("\x03")
        terminal.wait_for("stopped")
        terminal.wait_for("not sent: more")
        terminal.send("\x03")
        terminal.wait_for("again leaves")
        terminal.send("\x03")
        assert terminal.end() == 0
    assert said(program)[:2] == [("user", "hello"), ("assistant", "These words arrive and then it breaks.")]


def test_a_closed_terminal_ends_it_in_order(program: Program, endpoint: ScriptedEndpoint) -> None:
    with start(program, "--plain", "--model", "fake:shape-stall") as terminal:
        terminal.wait_for("/help")
        terminal.send("hello\r")
        endpoint.wait_for(lambda: endpoint.calls() and endpoint.calls()[0].first_token)
        os.kill(terminal.process.pid, signal.SIGHUP)
        assert terminal.end() == 0
    endpoint.wait_for(lambda: endpoint.calls()[0].disconnected)
    assert said(program)[0] == ("user", "hello")


@pytest.mark.sample(1)
@pytest.mark.parametrize("term", ["xterm-256color", "dumb"])
def test_without_a_model_it_leads_to_one(program: Program, endpoint: ScriptedEndpoint, term: str) -> None:
    """An address that wants a key: both are asked for, the key is not shown, and the chat works."""
    endpoint.script = Script(
        models={"worker": Behaviour(steps=(Say(text="Here I am."),)), "other": Behaviour()}, api_key="k-123"
    )
    program.config("")
    with start(program, "--plain", "hello there", term=term) as terminal:
        terminal.wait_for("Give an address")
        (row,) = re.findall(r"(\d) Give an address", terminal.text)  # below the servers that run on this machine
        terminal.send(f"{row}\r")
        terminal.wait_for("address ›" if term != "dumb" else "goes back")
        terminal.send(f"{endpoint.base_url}\r")
        terminal.wait_for("no other address")
        terminal.send("k-123\r")
        terminal.wait_for("a part of a name narrows")
        terminal.send("worker\r")
        terminal.wait_for("1 worker", after=terminal.text.rindex("narrows"))
        terminal.send("\r")
        terminal.wait_for("the main model is mine:worker")
        if term == "dumb":
            terminal.send("hello there")
        terminal.send("\r")  # what the chat was begun with came back
        terminal.wait_for("Here I am.")
        terminal.send("/quit\r")
        assert terminal.end() == 0
    assert "k-123" not in terminal.text
    assert said(program)[0] == ("user", "hello there")


@pytest.mark.parametrize("options", [(), ("--plain",), ("-c",)])
def test_no_terminal_no_chat(program: Program, options: tuple[str, ...]) -> None:
    done = program(*options)
    assert done.code == 2
    assert "needs a terminal" in done.err and "moa run" in done.err
    assert done.out == ""


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--model", "fake:x", "run", "hi"), "stand after it"),
        (("--preset", "a", "--no-moa"), "contradict"),
        (("rnu",), "did you mean moa run?"),
        (("rnu", "hello"), "did you mean moa run?"),
        (("why", "is", "it", "so"), 'moa "why is it so"'),
        (("run", "--modle", "fake:x", "hi"), "did you mean --model? moa run --help"),
        (("session", "lst"), "did you mean list?"),
        (("preset", "list", "more"), "moa preset list takes no argument 'more'"),
        (("--resume", "nothing-like-it"), "needs a terminal"),
    ],
)
def test_wrong_usage_is_said_in_a_line(program: Program, options: tuple[str, ...], says: str) -> None:
    done = program(*options)
    assert done.code == 2
    assert says in done.err
