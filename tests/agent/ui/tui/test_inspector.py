from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from textual.app import App
from textual.pilot import Pilot

from agent.events import ErrorInfo, ModelStarted, Record
from agent.session.tree import PlacedRecord
from agent.ui.tui.counsel import inspector
from agent.ui.tui.counsel.inspector import Inspector
from agent.ui.tui.counsel.side_log import MOST_GROUPS, SideLog
from agent.ui.tui.text.tab_line import TabLine
from agent.views import View
from moa.counsel.view import counsel_view
from tests.agent.ui.tui import counsel
from tests.support.screen import dump, widths
from tests.support.waiting import until
from tests.support.widgets import WidgetStage


def told() -> SideLog:
    """A counsel as it is taken: four asked, one fails, one is late, the guidance goes out."""
    log = SideLog()
    for slot in (1, 2, 3, 4):
        log.apply(counsel.started(slot))
    log.apply(counsel.finished(1))
    log.apply(counsel.finished(3, "failed", "half a word", error=ErrorInfo(kind="rate_limited", message="slow down")))
    log.apply(counsel.record())
    log.apply(ModelStarted(iteration=3, model="x:main", guidance=counsel.data()["guidance"]))
    log.apply(counsel.finished(4, "late", "I am late"))
    return log


def shown_by_moa(record: Record) -> View:
    return counsel_view(record.data)


def play(
    log: SideLog,
    scene: Callable[[App[None], Pilot[None]], Any],
    size: tuple[int, int] = (100, 40),
    group: str | None = None,
    view: Callable[[Record], View] = shown_by_moa,
) -> None:
    async def opened(app: WidgetStage, pilot: Pilot[None]) -> None:
        await app.push_screen(Inspector(log, view, group))
        await pilot.pause()
        await scene(app, pilot)

    WidgetStage().play(opened, size)


def pages(log: SideLog, size: tuple[int, int] = (100, 60), **options: Any) -> dict[str, str]:
    """Each tab as the screen shows it."""
    shown: dict[str, str] = {}

    async def scene(app: App[None], pilot: Pilot[None]) -> None:
        for number, title in enumerate(app.screen.query_one(TabLine).titles, 1):
            await pilot.press(str(number))
            await pilot.pause()
            shown[title] = dump(app)

    play(log, scene, size, **options)
    return shown


def test_it_opens_on_who_holds_what_and_every_tab_says_its_part() -> None:
    shown = pages(told())
    assert list(shown) == ["Analysis", "Members", "Guidance", "Calls & cost", "As it ran"]
    analysis = shown["Analysis"]
    assert f"1 of 1 · {counsel.LINE} · 1 came in since" in " ".join(analysis.split())
    for row in (
        r" alpha +beta +other +member 4",
        r"✓ answered +◷ late, cut off +✗ failed +• working",
        r"≠ Whether C is needed +A +B\? +· +·",
        r"◆ E breaks on Sundays +\? +· +· +·",
        r"✓ Do A before B .* +✓ +\? +· +·",
    ):
        assert re.search(row, analysis), row
    order = ["Disagreements", "Raised by one member", "Agreed", "Mentioned by some"]
    places = [analysis.index(title) for title in order]
    assert places == sorted(places), "dissent first"
    assert "A alpha: it is" in analysis and "B beta: it is not" in analysis
    for title in ("Blind spots", "Next steps", "Quotes that belong to no point"):
        assert title in analysis
    assert "✓ “First do A, and then B”   vendor/alpha" in analysis and "held by vendor/alpha" in analysis
    assert "? “C is of no use to anybody”   beta, not verified: its source does not say this" in analysis
    members = shown["Members"]
    assert "asked to: Look for what the plan would break." in members
    assert "First do A." in members and "[/red][@click=app.quit]x[/]" in members
    assert "late, cut off · asked before step 2" in members and "failed: rate limited" in members
    assert "Sent with call 3 of the main model, word for word" in shown["Guidance"]
    assert shown["Guidance"].count("Private counsel.") == 1
    calls = shown["Calls & cost"]
    assert "call-1" in calls and "call-9" in calls and "together ≥ $0.031" in calls and "the same family" in calls
    ran = shown["As it ran"]
    assert "half a word" in ran and "the main model continued" in ran and "I am late" in ran
    assert all("\x1b" not in page for page in shown.values())


def test_after_resume_the_records_alone_are_enough() -> None:
    log = SideLog()
    goal = Record(source="goal", kind="goal", data={"id": "j1"})
    log.load([PlacedRecord(counsel.record(), 1), PlacedRecord(goal, 3)])
    shown = pages(log)
    assert list(shown) == ["Analysis", "Members", "Guidance", "Calls & cost"]
    assert "1 of 1 · counsel budget" in shown["Analysis"], "what has no line is told to nobody"
    assert "First do A." in shown["Members"] and "Private counsel." in shown["Guidance"]


def test_the_arrows_go_through_all_counsel_and_stop_at_the_ends() -> None:
    log = SideLog()
    for number in (1, 2, 3):
        log.apply(counsel.record(line=f"counsel preset{number}", id=f"t/c{number}"))

    async def scene(app: App[None], pilot: Pilot[None]) -> None:
        assert "3 of 3 · counsel preset3" in dump(app)
        await pilot.press("left", "left", "left")
        assert "1 of 3 · counsel preset1" in dump(app)
        await pilot.press("right", "tab")
        await pilot.pause()
        assert "2 of 3 · counsel preset2" in dump(app) and "First do A." in dump(app)
        await pilot.press("escape")
        assert not isinstance(app.screen, Inspector)

    play(log, scene)


def test_it_looks_on_while_the_panel_is_at_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspector, "LOOK_S", 0.01)
    log = SideLog()
    log.apply(counsel.started(1))
    log.apply(counsel.progress(1, words="thinking of [/x]"))

    async def scene(app: App[None], pilot: Pilot[None]) -> None:
        assert "0 of 1 ended · working" in dump(app) and "… thinking of [/x]" in dump(app)
        log.apply(counsel.finished(1, text="Here it is."))
        await until(lambda: "Here it is." in dump(app) and "1 of 1 ended" in dump(app))

    play(log, scene)


@pytest.mark.parametrize(
    "broken",
    [
        {"id": "x"},
        {"id": "x", "analysis": 3, "members": "no", "failed": [None, 4], "cost": [], "duration_s": "soon"},
        {
            "id": "x",
            "members": [{}],
            "failed": [{}],
            "analysis": {"consensus": [None, {"x": 1}], "contradictions": ["a", {"stances": [1]}]},
        },
        {
            "id": "x",
            "members": [],
            "aggregator": {"error": {"kind": "timed_out"}},
            "rung": "raw",
            "evidence": [{}, "q"],
            "late": [0],
        },
    ],
)
def test_a_record_that_lacks_anything_is_shown_as_far_as_it_goes(broken: dict[str, Any]) -> None:
    log = SideLog()
    log.apply(Record(source="moa", kind="counsel", data=broken, line="counsel of old", group="x"))
    shown = pages(log)
    assert all("1 of 1 · counsel of old" in page for page in shown.values()) and len(shown) >= 3


def test_without_any_counsel_it_says_so() -> None:
    async def scene(app: App[None], pilot: Pilot[None]) -> None:
        await pilot.press("2", "tab")
        assert "Nothing to open yet." in dump(app)

    play(SideLog(), scene)


@pytest.mark.parametrize("size", [(40, 12), (250, 60)])
def test_the_frame_holds_at_any_size(size: tuple[int, int]) -> None:
    async def scene(app: App[None], pilot: Pilot[None]) -> None:
        for number in range(1, 6):
            await pilot.press(str(number))
            await pilot.pause()
            assert widths(app) == {size[0]}
            assert "esc close" in dump(app) or size[0] == 40
        await pilot.resize_terminal(60, 20)
        await pilot.pause()
        assert widths(app) == {60}

    play(told(), scene, size)


def test_the_log_is_bounded() -> None:
    log = SideLog()
    for number in range(MOST_GROUPS + 5):
        log.apply(counsel.record(id=f"c{number}"))
    assert len(log.groups) == MOST_GROUPS and "c4" not in log.groups and "c5" in log.groups
