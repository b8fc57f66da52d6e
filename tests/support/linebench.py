"""Line mode on a pipe in the place of a terminal, with a scripted model: keys go in by `press`, what is printed is in `printed`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from prompt_toolkit.application.current import get_app_or_none
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.input.base import PipeInput
from prompt_toolkit.output import DummyOutput

from agent.host import Options
from agent.ui.line.mode import LineMode
from tests.support.agent import World
from tests.support.scripted import Line
from tests.support.waiting import until


class Screen(DummyOutput):
    """Keeps what is printed above the prompt."""

    def __init__(self) -> None:
        self.printed = ""

    def write_raw(self, data: str) -> None:
        self.printed += data


class LineBench(World):
    """`folder` gets the program's folders and a project to work in. `mode` is there from `run` on."""

    def __init__(self, folder: Path, lines: Sequence[Line] = ("ok",), **more: Any) -> None:
        super().__init__(folder, {"*": list(lines)}, **more)
        self.screen = Screen()
        self.mode: LineMode
        self.pipe: PipeInput
        self.running: asyncio.Task[int]

    @property
    def prompting(self) -> bool:
        """Whether a line can be typed."""
        return get_app_or_none() is not None

    @property
    def typed(self) -> str:
        """What stands in the prompt."""
        app = get_app_or_none()
        return "" if app is None else app.current_buffer.text

    @property
    def printed(self) -> str:
        """All that was printed."""
        return self.screen.printed

    def press(self, keys: str) -> None:
        """Keys, as a terminal sends them."""
        self.pipe.send_text(keys)

    def run(self, script: Callable[[], Awaitable[None]]) -> int:
        """Start line mode, go through a script, leave. Returns the exit code."""

        async def main() -> int:
            with create_pipe_input() as self.pipe:
                options = Options(approve="ask", cwd=self.work)
                env = {"TERM": "xterm-256color", "NO_COLOR": "1"}
                self.mode = LineMode(self.build, options, env=env, input=self.pipe, output=self.screen)
                self.running = asyncio.create_task(self.mode.run())
                await until(lambda: self.prompting)
                await script()
                if not self.running.done():
                    self.mode.leave()
                await until(self.running.done, lambda: f"the end; printed:\n{self.printed}")
                return self.running.result()

        return asyncio.run(main())
