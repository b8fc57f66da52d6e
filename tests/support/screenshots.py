"""The pictures in docs/screenshots, made anew: `python -m tests.support.screenshots [NAME …]`.

Those named demo-… are of `moa demo`, the others of the recorded conversation of the tests.
"""

from __future__ import annotations

import asyncio
import re
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from agent.chat.events import Asked, ChatEvent
from agent.events import SideProgress, SideStarted, TurnFinished
from agent.ui.tui.app import ChatApp
from agent.ui.tui.dialogs.form import Form
from moa.demo.stage import opened
from tests.support import waiting
from tests.support.recorded import read
from tests.support.screen import dump
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


async def help(stage: Stage) -> None:
    """Keys."""
    await stage.pilot.press("f1")
    await stage.pilot.pause()


async def commands(stage: Stage) -> None:
    """The menu of commands."""
    from agent.ui.tui.composer.composer import Composer

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


class Demo:
    """`moa demo` on the screen."""

    def __init__(self, app: ChatApp, pilot: Any) -> None:
        self.app = app
        self.pilot = pilot

    async def shows(self, text: str) -> None:
        """Wait until a text is there."""
        await waiting.until(lambda: text in dump(self.app), lambda: f"{text!r}:\n{dump(self.app)}")
        await self.pilot.pause()

    async def end(self) -> None:
        """To the end of the recording, at its own pace: the times are on the screen."""
        await self.shows("The recording ends here")


async def at_work(demo: Demo) -> None:
    """One member has answered, two are writing."""
    await demo.shows("✓ 1 birch")


async def disputed(demo: Demo) -> None:
    """Who holds what."""
    await demo.end()
    await demo.pilot.press("f4")
    await demo.pilot.pause(0.3)


async def answered(demo: Demo) -> None:
    """The answer, and what it took."""
    await demo.end()
    await demo.pilot.pause(0.3)


async def bill(demo: Demo) -> None:
    """What each role added."""
    await demo.end()
    demo.app.submit("/cost")
    await demo.shows("aggregator")
    await demo.pilot.pause(0.3)


DEMO: dict[str, tuple[Callable[[Demo], Awaitable[None]], tuple[int, int]]] = {
    "demo-panel": (at_work, (100, 28)),
    "demo-dispute": (disputed, (100, 32)),
    "demo-answer": (answered, (100, 34)),
    "demo-bill": (bill, (100, 22)),
}


async def play(name: str, home: Callable[[Path], None]) -> None:
    """A picture of the demo."""
    drive, size = DEMO[name]
    with opened() as played:
        assert played.options.cwd is not None
        home(played.options.cwd.parent)  # so that no path of the machine is on the screen
        app = ChatApp(played.build, played.options)
        async with app.run_test(size=size, notifications=True) as pilot:
            await drive(Demo(app, pilot))
            keep(app, name)
            await app.chat.aclose()


def keep(app: ChatApp, name: str) -> None:
    """Write the screen as it is."""
    svg = app.export_screenshot(title="moa")
    # The fonts would come from somebody's server each time that a picture is looked at.
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    (FOLDER / f"{name}.svg").write_text(svg, "utf-8")
    print(FOLDER / f"{name}.svg")


def main() -> None:
    """Make them all, or those that are named."""
    FOLDER.mkdir(exist_ok=True)
    wanted = sys.argv[1:] or [*PICTURES, *DEMO]
    for name in filter(DEMO.__contains__, wanted):
        with pytest.MonkeyPatch.context() as patch:
            asyncio.run(play(name, lambda folder, patch=patch: patch.setenv("HOME", str(folder))))
    for name, drive in PICTURES.items():
        if name not in wanted:
            continue
        with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
            stage = Stage(Path(folder) / "home", patch)
            if name == "first-run":
                stage.config_file.write_text("")

            async def shoot(stage: Stage, name: str = name, drive: Callable[[Stage], Awaitable[None]] = drive) -> None:
                await drive(stage)
                keep(stage.app, name)

            stage.run(shoot, size=(100, 36))


if __name__ == "__main__":
    main()
