from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from textual.pilot import Pilot

from agent.events import ErrorInfo, ModelStarted, SideStarted, TurnFinished
from agent.ui.tui.counsel.panel import LINGER_S, PanelView
from agent.ui.tui.counsel.side_log import SideLog
from tests.agent.ui.tui import counsel
from tests.support.screen import dump, widths
from tests.support.widgets import Beats, Clock, WidgetStage


class Stage(WidgetStage):
    """The panel alone, what it asks for, and its timer."""

    def __init__(self, clock: Clock) -> None:
        self.panel = PanelView(SideLog(clock))
        self.beats = Beats(self.panel)
        hears = {
            PanelView.Command: lambda message: message.line,
            PanelView.Emptied: lambda _message: "emptied",
            PanelView.InspectRequested: lambda message: ("inspect", message.group),
        }
        super().__init__(self.panel, hears=hears, focus=None)
        self.animation_level = "none"


def play(scene: Callable[[Stage, Clock, Pilot[None]], Any], size: tuple[int, int] = (120, 30)) -> None:
    clock = Clock()
    Stage(clock).play(lambda stage, pilot: scene(stage, clock, pilot), size)


def tick(app: Stage) -> str:
    """What the next tick paints."""
    app.panel.tick()
    return app.panel.render().plain


def four(app: Stage) -> None:
    for slot, model in enumerate(("google/gemini", "moonshot/kimi", "deepseek/v4", "z-ai/glm"), 1):
        app.panel.apply(counsel.started(slot, model))


def test_a_line_for_each_member_from_the_start_with_what_it_does() -> None:
    async def scene(app: Stage, clock: Clock, pilot: Pilot[None]) -> None:
        four(app)
        app.panel.apply(counsel.progress(1, words="the plan breaks", elapsed=3.4, tokens=120))
        app.panel.apply(counsel.progress(2, "soft_deadline", elapsed=30.0))
        app.panel.apply(counsel.finished(3))
        app.panel.apply(counsel.finished(4, "failed", "", error=ErrorInfo(kind="rate_limited", message="slow down")))
        lines = tick(app).splitlines()
        assert "moa · 1 of 4 answered, 1 failed" in lines[0] and "g continue · 1-2 stop · enter open" in lines[0]
        assert lines[1].split() == ["•", "1", "gemini", "writing", "3", "s", "~120", "the", "plan", "breaks"]
        assert "slow" in lines[2] and "30 s" in lines[2]
        assert (
            lines[3].startswith("✓ 3 v4")
            and "model-served" in lines[3]
            and "$0.0031" in lines[3]
            and "8.2 s" in lines[3]
        )
        assert lines[4].startswith("✗ 4 glm") and "rate_limited: slow down" in lines[4]
        await pilot.pause()
        assert "the plan breaks" in dump(app)
        clock.now += 2
        assert "  5 s" in tick(app).splitlines()[1], "the clock goes on between signs of life"

    play(scene)


def test_the_counsel_s_record_ends_its_lines_and_a_late_member_stays_until_it_is_in() -> None:
    async def scene(app: Stage, clock: Clock, pilot: Pilot[None]) -> None:
        four(app)
        for slot in (1, 2, 3):
            app.panel.apply(counsel.finished(slot))
        app.panel.apply(counsel.progress(4))
        app.panel.apply(counsel.aggregator())
        lines = tick(app).splitlines()
        assert len(lines) == 6 and "aggregator opus" in lines[5], "what has no number says what it is"
        app.panel.apply(counsel.finished("aggregator"))
        app.panel.apply(counsel.record())
        (head, line) = tick(app).splitlines()
        assert head.startswith("moa · 1 late")
        assert line.startswith("• 4 glm") and " late " in line
        app.panel.apply(counsel.finished(4, "late"))
        assert " late " in tick(app).splitlines()[1]
        clock.now += LINGER_S + 0.1
        app.beats.go_off()
        await pilot.pause()
        assert not app.panel.display and not app.beats
        assert dump(app) == ""

    play(scene)


def test_side_work_that_nobody_sums_up_is_seen_to_its_end_and_goes() -> None:
    async def scene(app: Stage, clock: Clock, pilot: Pilot[None]) -> None:
        judge = SideStarted(source="goal", id="j1", group="j1", kind="judge", label="judge opus", model="x:opus")
        app.panel.apply(judge)
        assert "judge opus" in tick(app) and "goal · 0 of 1 answered" in tick(app)
        await pilot.press("1", "g")
        assert app.heard == [], "it offers neither key"
        app.panel.focus()
        await pilot.press("1", "g")
        assert app.heard == []
        app.panel.apply(counsel.finished("1", group="j1"))  # an id that is unknown
        app.panel.apply(TurnFinished(turn="t1", status="interrupted", text=""))
        assert tick(app) == "" and not app.panel.display

    play(scene)


def test_keys_stop_one_go_on_and_look_into_it() -> None:
    async def scene(app: Stage, clock: Clock, pilot: Pilot[None]) -> None:
        four(app)
        app.panel.apply(counsel.finished(3))
        app.beats.go_off()
        app.panel.focus()
        await pilot.press("2", "3", "g", "enter")
        assert app.heard == ["/moa cancel 2", "/moa go", ("inspect", counsel.GROUP)], "3 has ended already"
        app.heard.clear()
        assert app.panel.stop(4) and not app.panel.stop(8) and app.panel.go_on()
        await pilot.pause()
        assert app.heard == ["/moa cancel 4", "/moa go"]
        app.heard.clear()
        await pilot.click(PanelView, offset=(10, 2))
        assert app.heard == [("inspect", counsel.GROUP)]

    play(scene)


def test_counsel_that_looks_ahead_stays_through_the_call_beside_it() -> None:
    async def scene(app: Stage, clock: Clock, pilot: Pilot[None]) -> None:
        four(app)
        app.panel.apply(counsel.finished(1))
        app.panel.apply(ModelStarted(iteration=1, model="x:main"))
        assert len(tick(app).splitlines()) == 5 and "late" not in tick(app)

    play(scene)


def test_the_keys_go_back_when_there_is_nobody_left_to_steer() -> None:
    async def scene(app: Stage, clock: Clock, pilot: Pilot[None]) -> None:
        four(app)
        app.beats.go_off()
        app.panel.focus()
        await pilot.pause()
        app.panel.apply(TurnFinished(turn="t1", status="done", text=""))
        app.beats.go_off()
        await pilot.pause()
        assert app.heard == ["emptied"] and app.focused is not app.panel

    play(scene)


def test_a_further_layer_takes_the_seat_s_own_line() -> None:
    async def scene(app: Stage, clock: Clock, pilot: Pilot[None]) -> None:
        four(app)
        app.panel.apply(counsel.finished(1, text="first"))
        again = counsel.started(1, "google/gemini")
        app.panel.apply(SideStarted(**{**_fields(again), "id": f"{counsel.GROUP}/1.2"}))
        assert len(tick(app).splitlines()) == 5
        assert "first" not in tick(app)

    play(scene)


def _fields(event: SideStarted) -> dict[str, Any]:
    return {name: getattr(event, name) for name in event.__dataclass_fields__}


def test_nothing_is_repainted_where_nothing_that_is_shown_has_changed() -> None:
    async def scene(app: Stage, clock: Clock, pilot: Pilot[None]) -> None:
        four(app)
        app.beats.go_off()
        painted: list[bool] = []
        refresh = app.panel.refresh

        def counted(*args: Any, **kwargs: Any) -> Any:
            painted.append(bool(kwargs.get("layout")))
            return refresh(*args, **kwargs)

        app.panel.refresh = counted  # type: ignore[method-assign]
        for _ in range(20):
            app.beats.go_off()
        assert painted == []
        app.panel.apply(counsel.progress(1, words="news"))
        assert painted == [], "an event paints nothing by itself"
        app.beats.go_off()
        assert painted == [False], "and a tick never lays the screen out anew"

    play(scene)


@pytest.mark.parametrize("size", [(40, 12), (60, 12), (100, 24), (250, 60)])
def test_hostile_words_and_any_width_leave_the_frame_whole(size: tuple[int, int]) -> None:
    async def scene(app: Stage, clock: Clock, pilot: Pilot[None]) -> None:
        for slot in range(1, 9):
            app.panel.apply(counsel.started(slot, f"x/[bold]{'層' * slot}", role=counsel.HOSTILE))
            app.panel.apply(counsel.progress(slot, words=counsel.HOSTILE * 9))
        app.panel.apply(counsel.finished(8, text=counsel.HOSTILE))
        app.beats.go_off()
        await pilot.pause()
        text = dump(app)
        assert "\x1b" not in text
        assert widths(app) == {size[0]}
        assert len(text.splitlines()) <= max(4, size[1] // 2)
        assert ("more" in text) == (size[1] < 24)
        if size[0] >= 100:
            assert "@click=app.quit" in text

    play(scene, size)
