"""Each state of the chat as a screen of text. `MOA_SCREENS=write pytest …` writes them anew; look at the difference before you keep it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from agent.chat.events import Asked, ChatEvent, Refused
from agent.events import ModelStarted, Record, SideProgress, SideStarted, TextDeltaEvent, ToolFinished, TurnFinished
from agent.ui.tui.dialogs.form import Form
from tests.support.recorded import read
from tests.support.screen import widths
from tests.support.stage import Stage


def up_to(last: Callable[[ChatEvent], bool], *, times: int = 1) -> list[ChatEvent]:
    """The recorded conversation, up to and with an event."""
    told = []
    for event in read():
        told.append(event)
        times -= last(event)
        if not times:
            return told
    raise AssertionError("no such event was recorded")


STATES: dict[str, list[ChatEvent]] = {
    "counsel-running": up_to(lambda event: isinstance(event, SideProgress) and event.state == "writing", times=2),
    "aggregator-running": up_to(lambda event: isinstance(event, SideStarted) and event.kind == "aggregator"),
    "counsel-done": up_to(lambda event: isinstance(event, Record)),
    "approval": up_to(lambda event: isinstance(event, Asked)),
    "tool-run": up_to(lambda event: isinstance(event, ToolFinished)),
    "streaming": [
        *up_to(lambda event: isinstance(event, ModelStarted), times=3),
        TextDeltaEvent(text="# Done\n\n- the *notes* are changed\n- and an open item with `co"),
    ],
    "turn-done": up_to(lambda event: isinstance(event, TurnFinished)),
    "refused": up_to(lambda event: isinstance(event, Refused)),
    "stopped": read(),
}


@pytest.mark.sample(5)
@pytest.mark.parametrize("name", STATES)
def test_a_state_looks_like_this(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def drive(stage: Stage) -> None:
        await stage.feed(STATES[name])
        stage.check(name)
        assert widths(stage.app) == {100}

    Stage(tmp_path, monkeypatch).run(drive, size=(100, 40))


def test_an_empty_chat_says_where_one_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def drive(stage: Stage) -> None:
        stage.check("empty")

    Stage(tmp_path, monkeypatch).run(drive)


def test_the_first_run_offers_its_ways(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(tmp_path, monkeypatch)
    stage.config_file.write_text("")
    monkeypatch.setattr("agent.local.discover.PORTS", ())
    monkeypatch.setattr("agent.ui.first_run.discover", _nobody)
    for name in ("OPENROUTER_API_KEY", "MOA_MODEL"):
        monkeypatch.delenv(name, raising=False)

    async def drive(stage: Stage) -> None:
        await stage.until(lambda: stage.app.screen.query(Form) and "Paste a key" in stage.text)
        await stage.pilot.pause()
        stage.check("first-run")

    stage.run(drive)


async def _nobody(*_args: object, **_more: object) -> list[object]:
    return []


@pytest.mark.sample(5)
@pytest.mark.parametrize("size", [(40, 12), (60, 20), (250, 60)])
@pytest.mark.parametrize("name", ["counsel-running", "approval", "turn-done"])
def test_no_size_breaks_a_frame(
    name: str, size: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def drive(stage: Stage) -> None:
        await stage.feed(STATES[name])
        stage.check(f"{name}-{size[0]}x{size[1]}")
        assert widths(stage.app) == {size[0]}

    Stage(tmp_path, monkeypatch).run(drive, size=size)


@pytest.mark.slow
def test_a_resize_in_mid_stream_keeps_every_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = [f"word{number}" for number in range(120)]

    async def drive(stage: Stage) -> None:
        await stage.feed(STATES["streaming"])
        for number, word in enumerate(words):
            stage.app.listen(TextDeltaEvent(text=f" {word}"))
            if number % 20 == 10:
                width, height = ((40, 12), (250, 60), (77, 23))[number // 20 % 3]
                await stage.pilot.resize_terminal(width, height)
                await stage.settle()
                assert widths(stage.app) == {width}
        await stage.pilot.resize_terminal(100, 60)
        await stage.shows(*words)

    Stage(tmp_path, monkeypatch).run(drive)
