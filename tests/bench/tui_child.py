"""One measurement of the chat's widgets in a process of their own: `python -m tests.bench.tui_child stream KIND TOKENS RATE`, or
`members NUMBER SECONDS`. Prints one JSON object.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

from textual import events, on
from textual.app import App, ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Input, Static

from agent.events import SideProgress, SideStarted, TextDeltaEvent, TurnStarted
from agent.llm.messages import user
from agent.ui.tui.counsel.panel import PanelView
from agent.ui.tui.transcript.transcript import Transcript
from tests.bench.tui import listing

SIZE = (120, 40)
KEY_EVERY_S = 0.25


def text_of(kind: str, tokens: int) -> str:
    """A text of that kind and about that size."""
    words = listing(tokens)
    match kind:
        case "plain":
            return words
        case "list":
            return words
        case "code":
            return "```python\n" + "def f(x): return [y for y in range(x)]  # why\n" * (tokens * 4 // 46) + "```\n"
        case _:
            part = f"A paragraph with **bold** words.\n\n{listing(60)}\n```python\nx = [1, 2]\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n"
            return part * max(1, tokens * 4 // len(part))


class Face(App[None]):
    """The transcript (or, as the control, one plain widget), the panel, and a line to type in."""

    def __init__(self, plain: bool = False) -> None:
        super().__init__()
        self.plain = plain
        self.pressed = 0.0
        self.echoes: list[float] = []

    def compose(self) -> ComposeResult:
        if self.plain:
            with VerticalScroll() as scroll:
                yield Static(markup=False)
            scroll.anchor()
        else:
            yield Transcript()
            yield PanelView()
        yield Input()

    @on(Input.Changed)
    def _echo(self) -> None:
        if self.pressed:
            self.echoes.append(time.perf_counter() - self.pressed)


async def stream(app: Face, kind: str, tokens: int, rate: float) -> dict[str, float]:
    """Deltas at their rate; the control's text is put into its widget ten times a second."""
    text = text_of(kind, tokens)
    deltas = [text[start : start + 4] for start in range(0, len(text), 4)][:tokens]
    began = time.perf_counter()
    lag, next_key, shown = 0.0, KEY_EVERY_S, 0.0
    body = ""
    for number, delta in enumerate(deltas):
        due = began + number / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        now = time.perf_counter()
        lag = max(lag, now - due)
        if app.plain:
            body += delta
            if now - shown >= 0.1:
                shown = now
                app.query_one(Static).update(Content(body))
        else:
            app.query_one(Transcript).apply(TextDeltaEvent(text=delta))
        if now - began > next_key:
            next_key += KEY_EVERY_S
            app.pressed = now
            app.post_message(events.Key("x", "x"))
    echoes = sorted(app.echoes)
    return {"lag_ms": lag * 1e3, "key_ms": echoes[int(len(echoes) * 0.95) - 1] * 1e3 if echoes else 0.0}


async def members(app: Face, number: int, seconds: float) -> dict[str, float]:
    """So many members, each with eight signs of life a second."""
    panel = app.query_one(PanelView)
    app.query_one(Transcript).apply(TurnStarted(session="s", turn="t", prompt=user("go")))
    for index in range(number):
        panel.apply(SideStarted(id=f"m{index}", group="g", kind="member", label=f"member {index}", model="fake:model"))
    began = time.perf_counter()
    for tick in range(int(seconds * 8)):
        await asyncio.sleep(max(0.0, began + tick / 8 - time.perf_counter()))
        for index in range(number):
            panel.apply(
                SideProgress(
                    id=f"m{index}",
                    state="writing",
                    elapsed_s=tick / 8,
                    tokens=tick * 12,
                    last_words=f"word {tick} of what member {index} has to say about it",
                )
            )
    return {}


async def main(what: str, *arguments: str) -> dict[str, Any]:
    """Run one measurement. Adds the processor time that it took."""
    app = Face(plain=arguments[0] == "plain")
    async with app.run_test(size=SIZE) as pilot:
        app.query_one(Input).focus()
        await pilot.pause(0.5)
        before = time.process_time()
        if what == "stream":
            found = await stream(app, arguments[0], int(arguments[1]), float(arguments[2]))
        else:
            found = await members(app, int(arguments[0]), float(arguments[1]))
        return {**found, "cpu_s": time.process_time() - before}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(*sys.argv[1:]))))
