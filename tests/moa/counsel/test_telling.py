"""A counsel's record: read from whatever was kept, told in one line, shown as a View."""

from __future__ import annotations

from typing import Any

import pytest

from agent.ui.text import render
from agent.views import MatrixView, StackView, TabsView
from moa.counsel.cadence import REPLAYED
from moa.counsel.record import CounselRecord
from moa.counsel.telling import line_of
from moa.counsel.view import counsel_view
from moa.plugin import Moa
from tests.agent.ui.tui import counsel

ALPHA, BETA = counsel.data()["members"]
GOOD: dict[str, Any] = {
    "asked": 2,
    "failed": [],
    "late": [],
    "running": [],
    "members": [ALPHA, {**ALPHA, "slot": "2", "model_served": "beta"}],
    "cost": {"usd": 0.031, "lower_bound": False},
}
TAGGED = {**ALPHA, "slot": "2", "model_served": "llama3.2:3b"}
SILENT = {**ALPHA, "grade": "nothing", "named": True}


@pytest.mark.parametrize(
    ("changes", "level", "said"),
    [
        ({}, "good", "2 of 2 answered · 1 agreed, 1 disputed: Whether C is needed · $0.031 · 9.4 s"),
        ({"cost": {"usd": None, "lower_bound": True}}, "good", "cost unknown"),
        ({"severity": "blocker"}, "good", "disputed: Whether C is needed · blocker ·"),
        ({"analysis": {"unique_insights": [{}]}}, "good", "1 raised by one member"),
        ({"analysis": None, "rung": "raw"}, "good", "2 of 2 answered · not compared ·"),
        ({"analysis": None, "rung": "vote"}, "good", "counted by vote"),
        (
            {"members": [ALPHA, {**SILENT, "slot": "2", "model_served": "beta"}]},
            "good",
            "Whether C is needed · beta silent ·",
        ),
        ({"members": [SILENT, {**SILENT, "slot": "2"}], "withheld": "silent"}, "info", "answered · nothing to add ·"),
        ({"withheld": "severity"}, "info", "nothing sent: below the preset's severity"),
        ({"withheld": "repeat"}, "info", "nothing sent: said before"),
        ({"failed": [{"slot": "3", "model": "e:v/kimi", "kind": "timed_out"}]}, "degraded", "kimi failed (timed out)"),
        ({"failed": [{"slot": "3", "model": "e:v/kimi", "kind": "cancelled"}]}, "degraded", "kimi stopped ·"),
        (
            {"failed": [{"slot": "3", "model": "ollama:qwen3:8b", "kind": "cancelled"}]},
            "degraded",
            "· qwen3:8b stopped",
        ),
        ({"late": [{"slot": "2", "step": 1}], "members": [ALPHA, TAGGED]}, "degraded", "· llama3.2:3b late"),
        ({"late": [{"slot": "2", "step": 1}]}, "degraded", "beta late ·"),
        ({"members": [{**ALPHA, "incomplete": True}]}, "degraded", "alpha cut off ·"),
        ({"running": ["3"], "panel": [{"slot": "3", "model": "e:v/glm"}]}, "degraded", "glm working ·"),
        (
            {"analysis": None, "rung": "raw", "aggregator": {"error": {"kind": "timed_out"}}},
            "degraded",
            "not compared (timed out)",
        ),
        ({"aggregator": {"fallback_used": True}}, "degraded", "by the fallback aggregator"),
        (
            {"answered": 0, "members": [], "analysis": None},
            "failed",
            "nobody of 2 answered, the main model continues alone",
        ),
        ({"draft": "It is done."}, "good", "on a draft"),
        ({"trigger": "again"}, "good", "counsel budget (analysed again): 2 of 2"),
    ],
)
def test_one_line_tells_apart_what_became_of_everybody(changes: dict[str, Any], level: str, said: str) -> None:
    told = line_of(CounselRecord.read(counsel.data(**{**GOOD, **changes})))
    assert said in told.line and told.level == level and told.group == counsel.GROUP
    assert "\n" not in told.line


def matrix(**changes: Any) -> MatrixView:
    view = counsel_view(counsel.data(**{**GOOD, **changes}))
    assert isinstance(view, TabsView)
    first = view.tabs[0][1]
    assert isinstance(first, StackView) and isinstance(first.views[0], MatrixView)
    return first.views[0]


def cells(view: MatrixView) -> dict[str, list[tuple[str | None, str]]]:
    return {f"{row.group}: {row.label[:6]}": [(cell.mark, cell.text) for cell in row.cells] for row in view.rows}


def test_who_holds_a_point_is_what_was_checked() -> None:
    assert cells(matrix()) == {
        "Disagreements: Whethe": [("disputed", "A"), ("unverified", "B")],
        "Raised by one member: E brea": [("unverified", ""), (None, "")],
        "Agreed: Do A b": [("agreed", ""), ("unverified", "")],
        "Mentioned by some: D was ": [(None, ""), ("unverified", "")],
    }
    quote = {"path": "unique_insights[0]", "source": "vendor/alpha", "quote": "on Sundays it breaks", "verified": True}
    assert cells(matrix(evidence=[quote]))["Raised by one member: E brea"][0] == ("alone", "")
    assert "aggregator's word alone" in matrix(evidence=[]).note


def test_those_who_say_the_same_stand_on_one_side() -> None:
    third = {**ALPHA, "slot": "3", "model_served": "gamma"}
    stances = [
        {"model": "vendor/alpha", "stance": "It is."},
        {"model": "beta", "stance": "it is not"},
        {"model": "gamma", "stance": "it is"},
    ]
    analysis = {"contradictions": [{"topic": "C", "stances": stances}]}
    view = matrix(members=[*GOOD["members"], third], analysis=analysis, evidence=[], asked=3, answered=3)
    assert [cell.text for cell in view.rows[0].cells] == ["A", "B", "A"]
    assert view.rows[0].notes == ("A  alpha, gamma: It is.", "B  beta: it is not")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"rung": "raw"}, "not compared"),
        ({"rung": "vote"}, "counted by vote"),
        ({"members": [ALPHA]}, "nothing to compare"),
        ({"members": [SILENT]}, "Nobody had anything to add"),
        ({"answered": 0}, "Nobody answered"),
        (
            {"aggregator": {"error": {"kind": "timed_out", "message": "no end"}}},
            "could not be compared (timed out): no end",
        ),
    ],
)
def test_without_an_analysis_it_says_why(changes: dict[str, Any], why: str) -> None:
    view = matrix(analysis=None, **changes)
    assert why in view.note and not view.rows


def test_guidance_that_went_out_again_long_ago_is_told_to_nobody() -> None:
    """Older versions kept an entry for each call with which an earlier guidance went out."""
    old = counsel.data()
    assert Moa.record_line(None, "counsel", old).line.startswith("counsel budget: 2 of 4")  # type: ignore[arg-type, union-attr]
    assert Moa.record_line(None, "counsel", {**old, "trigger": REPLAYED}) is None  # type: ignore[arg-type]
    assert Moa.record_line(None, "receipt", {"iteration": 1}) is None  # type: ignore[arg-type]


def test_a_record_is_read_back_as_it_was_written() -> None:
    read = CounselRecord.read(counsel.data())
    assert CounselRecord.read(read.plain()) == read
    assert read.plain()["cost"] == {"usd": 0.031, "lower_bound": True}
    old = {key: value for key, value in counsel.data(age=2).items() if key != "step"}
    assert CounselRecord.read(old).step == 1


@pytest.mark.parametrize("value", [None, 3, "x", [], [None, 4, "x", [], {}], {}, {"x": 1}, True, float("nan")])
def test_any_key_may_hold_anything(value: Any) -> None:
    for key in CounselRecord.read({}).plain():
        data = counsel.data(**{key: value})
        assert line_of(CounselRecord.read(data)).line.startswith("counsel")
        assert render(counsel_view(data, number=1, of=1))
        del data[key]
        assert render(counsel_view(data))
