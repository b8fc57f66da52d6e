"""`moa run` at a real pseudo-terminal: it asks, and takes nothing for an answer that was none."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest

from tests.support.endpoint import ScriptedEndpoint
from tests.support.program import Program
from tests.support.script import Behaviour, Say, Script
from tests.support.terminal import Terminal

WRITE = ("shell", {"command": "touch allowed"})


@pytest.fixture
def asking(program: Program, endpoint: ScriptedEndpoint) -> Program:
    steps = (Say(tools=(WRITE,)), Say(text="All done."))
    endpoint.script = Script(models={"worker": Behaviour(steps=steps)})
    return program


def terminal(program: Program, *words: str, command: Sequence[str] | None = None) -> Terminal:
    environment = {**program.environment, "TERM": "xterm", "MOA": str(program.executable)}
    return Terminal(command or [str(program.executable), "run", *words, "hi"], environment, program.work_dir)


QUESTION = "1 once · 2 for this session · 3 always · 4 no"


@pytest.mark.sample(2)
@pytest.mark.parametrize("keys", ["1\r", "4 because\r"])
def test_it_asks_and_does_as_it_is_told(asking: Program, endpoint: ScriptedEndpoint, keys: str) -> None:
    with terminal(asking) as screen:
        screen.wait_for(QUESTION)
        if keys != "1\r":  # a number by itself answers at once, all else when nobody has typed for a while
            screen.wait_for("\n> ")
        screen.send(keys)
        assert screen.end() == 0
        assert "touch allowed" in screen.text and "All done." in screen.text
    assert (asking.work_dir / "allowed").exists() is (keys == "1\r")
    told = str(endpoint.calls("worker")[1].body["messages"][-1]["content"])
    assert ("because" in told) is (keys != "1\r")


def test_what_is_typed_ahead_or_too_soon_answers_nothing(asking: Program, endpoint: ScriptedEndpoint) -> None:
    endpoint.script = Script(
        models={"worker": Behaviour(steps=(Say(tools=(WRITE,), ttft_s=1.0), Say(text="All done.")))}
    )
    with terminal(asking) as screen:
        endpoint.wait_for(lambda: endpoint.calls("worker"))
        screen.send("1\rthen do step ")
        screen.wait_for(QUESTION)
        screen.send("1\r")  # the rest of it: no answer, although it is a number alone
        screen.send("y")
        time.sleep(0.9)  # somebody thinks in the middle of a word
        screen.send("es\r1\r")
        screen.wait_for("\n> ")
        assert not (asking.work_dir / "allowed").exists()
        screen.send("you\r")  # no answer: it is asked again
        screen.wait_for("4 because …\n> ")
        screen.send("yes\r")
        assert screen.end() == 0
    assert (asking.work_dir / "allowed").exists()


@pytest.mark.parametrize("line", ["$MOA run hi | cat", "$MOA run --output-format json --approve ask hi >out.json"])
def test_it_asks_wherever_its_output_goes(asking: Program, line: str) -> None:
    with terminal(asking, command=["bash", "-ic", line]) as screen:
        screen.wait_for(QUESTION)
        screen.send("1\r")
        assert screen.end() == 0
    assert (asking.work_dir / "allowed").exists()


def test_ctrl_c_at_the_question_stops_the_turn(asking: Program) -> None:
    with terminal(asking) as screen:
        screen.wait_for("\n> ")
        screen.send("\x03")
        assert screen.end() == 130
    assert not (asking.work_dir / "allowed").exists()


def test_without_a_terminal_nothing_waits(asking: Program) -> None:
    done = asking("run", "--approve", "ask", "hi")
    assert (done.code, done.out) == (0, "All done.\n")
    assert not (asking.work_dir / "allowed").exists()
