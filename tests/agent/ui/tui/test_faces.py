"""Every face reads the same events: one recorded conversation, told to each of them."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.chat.events import Action, Answered, Asked, Opened, Queued, Refused, Shown
from agent.serialize import dumps
from agent.ui.line.paint import Paint
from agent.ui.line.printer import Printer
from agent.ui.run.headless import Output, show
from tests.support.recorded import read
from tests.support.stage import Stage

IN_A_CONVERSATION_ALONE = Opened | Shown | Queued | Asked | Answered | Refused | Action

Face = Callable[[Path, pytest.MonkeyPatch], str]


def headless(_folder: Path, _patch: pytest.MonkeyPatch) -> str:
    out, err = io.StringIO(), io.StringIO()
    output = Output(out=out, err=err, live=True)
    for event in read():
        if not isinstance(event, IN_A_CONVERSATION_ALONE):
            show(event, output)
    return err.getvalue() + out.getvalue()


def line(_folder: Path, _patch: pytest.MonkeyPatch) -> str:
    lines: list[str] = []
    printer = Printer(Paint(colour=False, width=lambda: 100), lines.append)
    for event in read():
        printer.apply(event)
    return "\n".join(lines)


def tui(folder: Path, patch: pytest.MonkeyPatch) -> str:
    shown: list[str] = []

    async def drive(stage: Stage) -> None:
        await stage.feed(read())
        shown.append(stage.text)

    Stage(folder, patch).run(drive, size=(100, 120))
    return shown[0]


FACES = [headless, line, tui]


@pytest.mark.sample(6)
@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize(
    "words",
    [
        "I change the notes.",
        "notes.txt",
        "counsel from 2 of 3 (3 broken: bad_request)",
        "missing.txt",
        "the notes are changed",
        "One moment, One moment",
    ],
)
def test_what_happened_in_a_turn_is_shown_by_each(
    face: Face, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = face(tmp_path, monkeypatch).replace("*notes*", "notes")  # line mode leaves Markdown as it was written
    assert words in shown


@pytest.mark.parametrize("face", [line, tui])
@pytest.mark.parametrize(
    "words",
    [
        "change the notes",
        "line 3: something",
        "Counsel is off.",
        "from the shell",
        "there is no command /nosuch",
        "stopped",
        "2 of 3 answered · 1 agreed, 1 disputed: where to begin · broken failed (bad",
    ],
)
@pytest.mark.sample(3)
def test_what_happened_between_turns_is_shown_by_those_that_talk(
    face: Face, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert words in face(tmp_path, monkeypatch)


@pytest.mark.parametrize("face", FACES)
def test_what_a_model_writes_is_text_in_each(face: Face, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = face(tmp_path, monkeypatch)
    assert "[bold red]markup[/] and [/a/b]" in " ".join(shown.split())
    assert not {"\x1b", "\u202e"} & set(shown)


def test_the_recording_is_the_stream_that_programs_read() -> None:
    events = read()
    assert {json.loads(dumps(event))["type"] for event in events} >= {
        "turn_started", "side_started", "side_progress", "side_finished", "record", "model_started", "reasoning_delta",
        "text_delta", "model_finished", "asked", "answered", "tool_started", "tool_finished", "notice", "turn_finished",
        "shown", "queued", "refused", "opened",
    }  # fmt: skip
