"""The pictures in docs/screenshots, made anew from the recorded conversation: `python -m tests.support.screenshots`."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from agent.chatevents import Asked, ChatEvent
from agent.events import SideProgress, SideStarted, TurnFinished
from agent.ui.tui.form import Form
from tests.support.recorded import read
from tests.support.stage import Stage

FOLDER = Path(__file__).parent.parent.parent / "docs" / "screenshots"


def until(last: Callable[[ChatEvent], bool]) -> list[ChatEvent]:
    """The conversation up to and with the first event of a kind."""
    events = read()
    return events[: next(number for number, event in enumerate(events, 1) if last(event))]


async def panel(stage: Stage) -> None:
    """Members at work."""
    started = until(lambda event: isinstance(event, SideStarted) and event.label.startswith("3"))
    await stage.feed(started)
    ids = [event.id for event in started if isinstance(event, SideStarted)]
    for number, (id, words) in enumerate(
        zip(ids, ("the tests say nothing of line three", "read the file fi", ""), strict=True)
    ):
        state = "writing" if words else "waiting"
        await stage.feed(
            [
                SideProgress(
                    source="moa", id=id, state=state, elapsed_s=2.4 + number, tokens=40 * number, last_words=words
                )
            ]
        )
    await stage.pilot.pause(0.3)


async def approval(stage: Stage) -> None:
    """A question."""
    await stage.feed(until(lambda event: isinstance(event, Asked)))


async def chat(stage: Stage) -> None:
    """A turn with counsel, to its end."""
    await stage.feed(until(lambda event: isinstance(event, TurnFinished)))


async def inspector(stage: Stage) -> None:
    """A counsel in full."""
    await chat(stage)
    await stage.pilot.press("f4")
    await stage.pilot.pause()
    await stage.pilot.press("2")
    await stage.pilot.pause()


async def help(stage: Stage) -> None:
    """Keys."""
    await stage.pilot.press("f1")
    await stage.pilot.pause()


async def commands(stage: Stage) -> None:
    """The menu of commands."""
    from agent.ui.tui.composer import Composer

    stage.app.query_one(Composer).editor.insert("/mo")
    await stage.pilot.pause(0.3)


async def first_run(stage: Stage) -> None:
    """No model yet."""
    await stage.until(lambda: stage.app.screen.query(Form) and "Paste a key" in stage.text)
    await stage.pilot.pause()


PICTURES: dict[str, Callable[[Stage], Awaitable[None]]] = {
    "panel": panel,
    "approval": approval,
    "chat": chat,
    "inspector": inspector,
    "help": help,
    "commands": commands,
    "first-run": first_run,
}


def main() -> None:
    """Make them all."""
    FOLDER.mkdir(exist_ok=True)
    for name, drive in PICTURES.items():
        with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
            stage = Stage(Path(folder) / "home", patch)
            if name == "first-run":
                stage.config_file.write_text("")

            async def shoot(stage: Stage, name: str = name, drive: Callable[[Stage], Awaitable[None]] = drive) -> None:
                await drive(stage)
                svg = stage.app.export_screenshot(title="moa")
                # The fonts would come from somebody's server each time that a picture is looked at.
                svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
                (FOLDER / f"{name}.svg").write_text(svg, "utf-8")

            stage.run(shoot, size=(100, 36))
            print(FOLDER / f"{name}.svg")


if __name__ == "__main__":
    main()
