"""`moa demo`: the program itself on a recording; no key, no network, nothing of the user's touched."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import pytest

from agent.chat.events import Opened, Refused
from agent.events import Notice, Record, TurnFinished
from agent.ui.tui.app import ChatApp
from agent.ui.tui.composer.composer import Composer
from moa.demo.recording import Pace, Player, Recording
from moa.demo.stage import opened
from tests.support.program import Program
from tests.support.screen import dump
from tests.support.terminal import Terminal
from tests.support.waiting import until


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refused(*_args: object, **_more: object) -> object:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(asyncio.BaseEventLoop, "create_connection", refused)


def files(program: Program) -> dict[str, bytes]:
    """Everything in the user's folders."""
    roots = (program.config_dir, program.state_dir, program.cache_dir, program.home, program.work_dir)
    return {str(path): path.read_bytes() for root in roots for path in root.rglob("*") if path.is_file()}


def test_without_a_terminal_it_is_printed(tmp_path: Path) -> None:
    program = Program(tmp_path)
    (program.config_dir / "config.toml").write_text("")
    before = files(program)
    done = program("demo")
    assert done.code == 0
    assert "in working hours" in done.out
    assert done.err.startswith("· RECORDING. Written by hand")
    assert "3 of 3 answered" in done.err
    assert files(program) == before


@pytest.mark.slow
def test_line_mode_in_a_terminal(tmp_path: Path) -> None:
    program = Program(tmp_path)
    before = files(program)
    command = [str(program.executable), "demo", "--plain"]
    environment = {**program.environment, "TERM": "xterm-256color"}
    with Terminal(command, environment, program.work_dir) as terminal:
        terminal.wait_for("RECORDING. Written by hand")
        for said in ("member 3 maple", "aggregator aspen", "3 of 3"):
            terminal.wait_for(said)
            terminal.send("\x1b[19~")  # F8
        terminal.wait_for("The recording ends here")
        terminal.send("and now?\r")
        terminal.wait_for("this is a recording: nothing can be sent")
        terminal.send("\x15\x04")
        assert terminal.end() == 0
        assert "moa --resume" not in terminal.text
    assert files(program) == before


def drive(act: Callable[[ChatApp, object], Awaitable[None]]) -> list[object]:
    """The demo in the full-screen chat; returns the events that it was told."""
    seen: list[object] = []

    async def main() -> None:
        with opened() as stage:
            app = ChatApp(stage.build, stage.options)
            listen = app.listen

            def heard(event: object) -> None:
                seen.append(event)
                listen(event)  # type: ignore[arg-type]

            app.listen = heard  # type: ignore[method-assign]
            async with app.run_test(size=(120, 40), notifications=True) as pilot:
                await act(app, pilot)
                await app.chat.aclose()

    asyncio.run(main())
    return seen


@pytest.mark.slow
def test_a_key_goes_ahead_and_the_counsel_can_be_looked_at(no_network: None) -> None:
    async def act(app: ChatApp, pilot: object) -> None:
        for said in ("cedar", "aspen", "3 of 3"):
            await until(lambda said=said: said in dump(app), partial(dump, app))
            assert "RECORDING" in dump(app)
            await pilot.press("f8")  # type: ignore[attr-defined]
        await until(lambda: "The recording ends here" in dump(app), partial(dump, app))
        assert "› /skip" not in dump(app)
        composer = app.query_one(Composer)
        composer.set_text("and now?")
        composer.action_enter()
        await until(lambda: "this is a recording: nothing can be sent" in dump(app), partial(dump, app))
        await pilot.press("f4")  # type: ignore[attr-defined]
        await until(lambda: "whether the table is rewritten" in dump(app), partial(dump, app))
        await pilot.press("escape")  # type: ignore[attr-defined]
        app.submit("/clear")  # another conversation is none that was recorded
        await until(lambda: "in working hours" not in dump(app), partial(dump, app))
        app.submit("and here?")
        await until(lambda: "nothing can be sent from it" in dump(app), partial(dump, app))

    seen = drive(act)
    assert [event.status for event in seen if isinstance(event, TurnFinished)] == ["done", "usage", "usage"]
    counsel = next(event.data for event in seen if isinstance(event, Record) and event.kind == "counsel")
    assert (counsel["answered"], counsel["severity"], len(counsel["analysis"]["contradictions"])) == (3, "concern", 1)
    assert [check["verified"] for check in counsel["evidence"]] == [True] * 7
    assert counsel["analysis"]["unique_insights"][0]["model"] == "maple"
    assert sum(isinstance(event, Notice) and event.code == "recording" for event in seen) == 1
    assert any(isinstance(event, Opened) for event in seen)
    assert all("RECORDING" not in event.message for event in seen if isinstance(event, Refused))


def test_the_panel_comes_at_its_recorded_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is waited for in each reply is what was recorded: to its first word, and from there to its last."""
    import httpx

    paused: dict[asyncio.Event, float] = {}

    class Counting(Pace):
        def clock(self) -> asyncio.Event:
            return asyncio.Event()

        async def wait(self, clock: asyncio.Event, seconds: float) -> None:
            paused[clock] = paused.get(clock, 0.0) + seconds

    async def main(recording: Recording) -> None:
        player = Player(recording, Counting())
        async with httpx.AsyncClient(transport=player) as client:
            for model, reply in recording.replies.items():
                if isinstance(reply["text"], str):
                    asked = {"model": model.partition(":")[2], "messages": []}
                    answer = await client.post("https://recording.invalid/v1/chat/completions", json=asked)
                    assert answer.text.count("data:") > 10
                    assert list(paused.values())[-1] == pytest.approx(reply["first_s"] + reply["seconds"])
            again = await client.post("https://recording.invalid/v1/chat/completions", json={"model": "oak"})
            assert again.status_code == 400

    recording = Recording.read()
    asyncio.run(main(recording))
    assert len(paused) == 4


def test_of_the_users_settings_only_the_looks_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.toml").write_text('model = "openai:gpt-x"\n[ui]\ntheme = "textual-light"\n')
    monkeypatch.setenv("MOA_CONFIG_DIR", str(tmp_path))
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-user")
    with opened(still=True) as stage:
        host = stage.build(stage.options)
        assert str(host.agent.model) == "demo:oak"
        assert host.config.ui == {"theme": "textual-light"}
        assert "sk-of-the-user" not in host.config.secrets()
        assert "OPENAI_API_KEY" not in os.environ
        asyncio.run(host.aclose())
    assert os.environ["OPENAI_API_KEY"] == "sk-of-the-user"
    assert os.environ["MOA_CONFIG_DIR"] == str(tmp_path)
