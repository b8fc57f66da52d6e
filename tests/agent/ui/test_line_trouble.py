"""Line mode where something goes wrong: it ends when its input does, and a broken panel does not end it."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from agent.chat.events import Action
from agent.commands import Command, CommandContext, Result
from agent.errors import UsageError
from agent.host import Options
from agent.ui.line.mode import LineMode
from tests.agent.ui.test_line import Discloses
from tests.support.linebench import LineBench
from tests.support.waiting import until


class Broken(Discloses):
    """Can't say who receives it."""

    def commands(self) -> list[Command]:
        async def tell(_context: CommandContext, _args: str) -> Result:
            raise UsageError("the preset is broken", remedy="mend it")

        return [Command("tell", "who receives it", tell, busy_ok=True)]


def test_a_disclosure_that_fails_is_the_turns_to_tell(tmp_path: Path) -> None:
    bench = LineBench(tmp_path, ["one"], plugins={"discloses": lambda _host: Broken()})

    async def script() -> None:
        bench.press("hello\r")
        await until(lambda: len(bench.client.requests) == 1 and not bench.mode.busy)

    assert bench.run(script) == 0


def test_input_that_ends_at_a_question_ends_a_dumb_terminals_chat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bench = LineBench(tmp_path, ["one"], plugins={"discloses": lambda _host: Discloses()})
    source, keyboard = os.pipe()

    async def main() -> int:
        options = Options(approve="ask", cwd=bench.work)
        mode = LineMode(bench.build, options, env={"TERM": "dumb"})
        os.write(keyboard, b"hello\n")
        os.close(keyboard)
        return await mode.run()

    with os.fdopen(source) as typed:
        monkeypatch.setattr("sys.stdin", typed)
        assert asyncio.run(main()) == 0
    assert "not sent: hello" in capsys.readouterr().out
    assert bench.client.requests == []


def test_a_dumb_terminal_is_told_what_was_taken_back_and_nothing_it_did_not_type(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = LineBench(tmp_path)
    with Path(os.devnull).open() as nothing:
        monkeypatch.setattr("sys.stdin", nothing)
        mode = LineMode(bench.build, Options(cwd=bench.work), env={"TERM": "dumb"})
    mode.listen(Action(name="resume", text=""))
    mode.listen(Action(name="compose", text="the \x1b[2Jquestion"))
    assert capsys.readouterr().out == "it was: the [2Jquestion\n"
