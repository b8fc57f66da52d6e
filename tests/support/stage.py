"""The whole chat app on a real host, headless: with a scripted endpoint to talk to, or fed with events."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from agent.build import build
from agent.chat.events import ChatEvent
from agent.host import Options
from agent.ui.tui.app import ChatApp
from agent.ui.tui.composer.composer import Composer
from agent.ui.tui.status import StatusLine
from agent.ui.tui.transcript.transcript import Transcript
from tests.support import stylesheets
from tests.support.program import NO_ENDPOINT, endpoint_config, preset_text
from tests.support.screen import dump
from tests.support.waiting import LONG_S, until

SCREENS = Path(__file__).parent.parent / "agent" / "ui" / "tui" / "screens"

Drive = Callable[["Stage"], Awaitable[None]]


class Stage:
    """Folders of its own below `root`, which is the home folder, too, so that no path of the machine is on the screen."""

    def __init__(self, root: Path, patch: pytest.MonkeyPatch, base_url: str = NO_ENDPOINT) -> None:
        stylesheets.share()
        self.root = root
        self.config_file = root / "config" / "config.toml"
        for name in ("config/presets", "state", "cache", "project"):
            (root / name).mkdir(parents=True)
        for kind in ("CONFIG", "STATE", "CACHE"):
            patch.setenv(f"MOA_{kind}_DIR", str(root / kind.lower()))
        patch.setenv("HOME", str(root))
        for name in ("TMUX", "STY", "SSH_TTY", "SSH_CONNECTION", "DISPLAY", "WAYLAND_DISPLAY", "TERM_PROGRAM"):
            patch.delenv(name, raising=False)
        self.config_file.write_text(endpoint_config(base_url, model="fake:main"))
        (root / "project" / "notes.txt").write_text("".join(f"line {n}: nothing\n" for n in range(1, 9)))
        self.app: ChatApp
        self.pilot: Any

    def preset(self, name: str, *members: str, **settings: Any) -> None:
        """A panel of these models."""
        (self.root / "config" / "presets" / f"{name}.toml").write_text(preset_text(members, **settings))

    def run(self, drive: Drive, *, size: tuple[int, int] = (100, 30), **options: Any) -> ChatApp:
        """Start the app, drive it, end it; returns it."""

        async def main() -> None:
            chosen = Options(**{"cwd": self.root / "project", "approve": "ask", **options})
            self.app = ChatApp(lambda wanted, **watch: build(wanted, env=os.environ, **watch), chosen)
            self.app.work_log.clock = lambda: 1_000.0
            async with self.app.run_test(size=size, notifications=True) as pilot:
                self.pilot = pilot
                await self.until(lambda: self.app.commands is not None or self.app.problem is not None)
                await pilot.pause()
                try:
                    await drive(self)
                finally:
                    if self.app.chat_is_open and not self.app.farewell:
                        await self.app.chat.aclose()

        asyncio.run(main())
        return self.app

    async def until(self, condition: Callable[[], object], seconds: float = LONG_S) -> None:
        """Wait for something to become true. Raises AssertionError with the screen where it does not."""
        await until(condition, lambda: f"the screen:\n{dump(self.app)}", seconds)

    async def enter(self, line: str) -> None:
        """Type a line and press Enter, without the cost of a press for each key."""
        composer = self.app.query_one(Composer)
        composer.set_text(line)
        composer.action_enter()
        await self.pilot.pause()

    async def feed(self, events: Iterable[ChatEvent]) -> None:
        """Tell the app events, as a conversation would, and let it draw."""
        for event in events:
            self.app.listen(event)
        await self.settle()

    async def settle(self) -> None:
        """Everything that is to be drawn is drawn."""
        await self.pilot.pause()
        self.app.query_one(Transcript).flush()
        self.app.query_one(StatusLine).paint()  # at most four times a second by itself
        await self.pilot.pause()

    async def shows(self, *texts: str) -> None:
        """Wait until these texts are on the screen together, however its lines are broken."""

        def shown() -> bool:
            screen = self.text
            return all(text in screen or text in " ".join(screen.split()) for text in texts)

        await self.until(shown)

    @property
    def ended(self) -> bool:
        """Whether the app is to end."""
        return self.app.return_code is not None

    @property
    def text(self) -> str:
        """The screen."""
        return dump(self.app)

    def check(self, name: str) -> None:
        """The screen is that of tests/agent/ui/tui/screens/NAME.txt; MOA_SCREENS=write writes it instead, to be looked at."""
        file = SCREENS / f"{name}.txt"
        shown = re.sub(r"\b\d{8}-\d{6}-[0-9a-f]{4}\b", "SESSION", self.text) + "\n"
        if os.environ.get("MOA_SCREENS") == "write":
            SCREENS.mkdir(exist_ok=True)
            file.write_text(shown, "utf-8")
        assert shown == file.read_text("utf-8")
