"""Widgets on a screen of their own, without the chat around them: what they post and what they notify is kept.

bar = ApprovalBar(clock=(clock := Clock()))
stage = WidgetStage(bar, hears={ApprovalBar.Answered: lambda message: message.answer})
stage.play(scene)                    # `async def scene(stage, pilot)`
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Self

from textual.app import App, ComposeResult
from textual.message import Message
from textual.pilot import Pilot
from textual.widget import Widget

from tests.support import stylesheets


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class WidgetStage(App[None]):
    """`hears` are the kinds of messages that go into `heard`, each as its function tells it. `notes` are the notifications."""

    def __init__(
        self,
        *widgets: Widget,
        hears: Mapping[type[Message], Callable[[Any], Any]] | None = None,
        css: str = "",
        focus: str | None = "*",
    ) -> None:
        stylesheets.share()
        super().__init__()
        self.CSS, self.AUTO_FOCUS = css, focus
        self.hears = hears or {}
        self.heard: list[Any] = []
        self.notes: list[str] = []
        self._widgets = widgets
        self._messages: list[Message] = []

    def compose(self) -> ComposeResult:
        yield from self._widgets

    def notify(self, message: str, **_options: object) -> None:  # type: ignore[override]
        self.notes.append(message)

    def _listen(self, message: Message) -> None:
        """Each comes once for everyone that it passes on its way up."""
        tell = self.hears.get(type(message))
        if tell is not None and not any(each is message for each in self._messages):
            self._messages.append(message)
            self.heard.append(tell(message))

    def play(self, scene: Callable[[Self, Pilot[None]], Awaitable[None]], size: tuple[int, int] = (80, 30)) -> None:
        """Show them, go through a scene, and end."""

        async def main() -> None:
            async with self.run_test(size=size, message_hook=self._listen) as pilot:
                await pilot.pause()
                await scene(self, pilot)

        asyncio.run(main())


class Beats:
    """The timers of a widget. They go off when a test says so, and not by the clock; `seconds` are how long each would have waited."""

    def __init__(self, widget: Widget) -> None:
        self.seconds: list[float] = []
        self._running: list[tuple[_Beat, Callable[[], Any], bool]] = []
        widget.set_interval = lambda seconds, call: self._add(seconds, call, again=True)  # type: ignore[assignment,method-assign,return-value]
        widget.set_timer = lambda seconds, call: self._add(seconds, call, again=False)  # type: ignore[assignment,method-assign,return-value]

    def _add(self, seconds: float, call: Callable[[], Any], *, again: bool) -> _Beat:
        beat = _Beat(self)
        self.seconds.append(seconds)
        self._running.append((beat, call, again))
        return beat

    def drop(self, beat: _Beat) -> None:
        """It was stopped."""
        self._running = [each for each in self._running if each[0] is not beat]

    def __len__(self) -> int:
        """How many run."""
        return len(self._running)

    def go_off(self) -> None:
        """All that run, once."""
        for beat, call, again in list(self._running):
            if not again:
                self.drop(beat)
            call()


class _Beat:
    def __init__(self, beats: Beats) -> None:
        self._beats = beats

    def stop(self) -> None:
        self._beats.drop(self)
