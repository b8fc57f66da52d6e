from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from textual.app import App
from textual.pilot import Pilot

from agent.events import ErrorInfo, ModelStarted, Record
from agent.ui.tui.inspector import TITLES, Inspector
from agent.ui.tui.sidelog import MOST_GROUPS, SideLog
from tests.agent.ui.tui import counsel
from tests.support.screen import dump, widths


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


def play(
    log: SideLog,
    scene: Callable[[App[None], Pilot[None]], Any],
    size: tuple[int, int] = (100, 40),
    group: str | None = None,
) -> None:
    async def main() -> None:
        app: App[None] = App()
        async with app.run_test(size=size) as pilot:
            await app.push_screen(Inspector(log, group))
            await pilot.pause()
            await scene(app, pilot)

    asyncio.run(main())


def pages(log: SideLog, size: tuple[int, int] = (100, 50)) -> dict[str, str]:
    """Each tab as the screen shows it."""
    shown: dict[str, str] = {}

    async def scene(app: App[None], pilot: Pilot[None]) -> None:
        for number, title in enumerate(TITLES, 1):
            await pilot.press(str(number))
            await pilot.pause()
            shown[title] = dump(app)

    play(log, scene, size)
    return shown


def test_every_tab_says_its_part() -> None:
    shown = pages(told())
    members = shown["Members"]
    assert "counsel 1 of 1 · budget · 2 of 4 answered · 1 agreed, 1 disputed · ≥ $0.031 · 9.4 s" in members
    assert "asked to: Look for what the plan would break." in members
    assert "First do A." in members and "[/red][@click=app.quit]x[/]" in members
    assert "cut off · late: it was asked before step 2" in members
    assert "rate_limited: slow down" in members and "half a word" in members
    assert "the main model went" in members and "I am late" in members
    analysis = shown["Analysis"]
    for title in (
        "Agreed (1)",
        "Disputed (1)",
        "Seen by some (1)",
        "Seen by one alone (1)",
        "Seen by none (1)",
        "Next steps (1)",
    ):
        assert title in analysis
    assert "alpha: it is" in analysis and "beta: it is not" in analysis
    assert "✓ “First do A, and then B” alpha" in analysis and "held by alpha" in analysis
    assert "✗ [not verified: its source does not say this] “C is of no use to anybody” beta" in analysis
    assert "Quotes that belong to no point" in analysis
    minority = shown["Minority report"]
    assert "E breaks on Sundays" in minority and "Whether C is needed" in minority and "Do A before B" not in minority
    assert "D was tried before" not in minority, "one of two is not fewer than half"
    guidance = shown["Guidance"]
    assert "with call 3 of the main model, word for word" in guidance and guidance.count("Private counsel.") == 1
    calls = shown["Calls & cost"]
    assert "call-1" in calls and "call-9" in calls and "together ≥ $0.031" in calls and "the same family" in calls
    assert "4 model" in calls, "the late call costs, too"
    assert all("\x1b" not in page for page in shown.values())


def test_after_resume_the_records_alone_are_enough() -> None:
    log = SideLog()
    replay = {**counsel.data(trigger="replayed", iteration=5, age=2, form="line", guidance=None)}
    for key in ("members", "aggregator"):
        del replay[key]
    log.load([{"kind": "counsel", "data": counsel.data(), "after": 1}, {"kind": "counsel", "data": replay, "after": 3}])
    shown = pages(log)
    assert "First do A." in shown["Members"] and "aggregator" in shown["Members"]
    assert "Private counsel." in shown["Guidance"]
    assert "with call 5 again, as one line, 2 calls old" in shown["Guidance"]


def test_the_arrows_go_through_all_counsel_and_stop_at_the_ends() -> None:
    log = SideLog()
    for number in (1, 2, 3):
        log.apply(counsel.record(id=f"t/c{number}", preset=f"preset{number}"))

    async def scene(app: App[None], pilot: Pilot[None]) -> None:
        assert "counsel 3 of 3 · preset3" in dump(app)
        await pilot.press("left", "left", "left")
        assert "counsel 1 of 3 · preset1" in dump(app)
        await pilot.press("right", "tab")
        await pilot.pause()
        assert "counsel 2 of 3 · preset2" in dump(app) and "Agreed (1)" in dump(app)
        await pilot.press("escape")
        assert not isinstance(app.screen, Inspector)

    play(log, scene)


def test_it_looks_on_while_the_panel_is_at_work() -> None:
    log = SideLog()
    log.apply(counsel.started(1))
    log.apply(counsel.progress(1, words="thinking of [/x]"))

    async def scene(app: App[None], pilot: Pilot[None]) -> None:
        assert "0 of 1 in · at work" in dump(app) and "… thinking of [/x]" in dump(app)
        log.apply(counsel.finished(1, text="Here it is."))
        screen = app.screen
        assert isinstance(screen, Inspector)
        await screen._look()
        await pilot.pause()
        assert "Here it is." in dump(app) and "1 of 1 in" in dump(app)

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
    log.apply(Record(source="moa", kind="counsel", data=broken))
    shown = pages(log)
    assert all("counsel 1 of 1" in page for page in shown.values())


def test_without_any_counsel_it_says_so() -> None:
    assert "Nothing to look into yet." in pages(SideLog())["Members"]


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
