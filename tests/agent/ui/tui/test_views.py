from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from textual.containers import VerticalScroll
from textual.pilot import Pilot

from agent.llm.money import show_cost
from agent.text.numbers import count, span
from agent.ui.columns import width
from agent.ui.text import render
from agent.ui.tui.text.cells import fit, tail
from agent.ui.tui.text.plot import bar, bars, sparkline
from agent.ui.tui.text.tab_line import TabLine
from agent.ui.tui.text.tree import TreeBody
from agent.ui.tui.text.view_table import fitted, table_content
from agent.ui.tui.text.views import view_widget
from agent.views import MarkdownView, PlotView, TableView, TabsView, TreeView, View
from tests.agent.ui.tui.counsel import HOSTILE
from tests.support.screen import dump, widths
from tests.support.widgets import WidgetStage

TABLE = TableView(
    title="spent",
    columns=("who", "model", "cost"),
    rows=(("1", "層層", "$0.10"), ("22", f"a {HOSTILE}", "$12.00"), ("3", "short")),
    align="llr",
    note="[not] all of it is here, and this note is longer than [not] all of it",
)
TREE = TreeView(
    label="counsel [/x]",
    children=(
        TreeView(label="1 said", text=f"first\nsecond {HOSTILE}"),
        TreeView(label="nothing"),
        TreeView(label="deep", children=(TreeView(label="leaf", text="down here"),)),
    ),
)
PLOT = PlotView(title="by day", unit="US$", bars=(("mon", 1.5), ("tue [/b]", 0.75), ("wed", 0.0), ("thu", math.nan)))


def play(view: View, scene: Callable[[WidgetStage, Pilot[None]], Any], size: tuple[int, int] = (80, 30)) -> None:
    WidgetStage(VerticalScroll(view_widget(view), can_focus=False)).play(scene, size)


def test_a_table_is_aligned_by_cells_and_literal() -> None:
    lines = table_content(TABLE).plain.splitlines()
    assert lines[0].startswith("who  model") and set(lines[1]) == {"─", " "}
    assert len({cell_len(line) for line in lines[:4]}) == 1, "right-aligned figures end in the same column"
    assert "[/red][@click=app.quit]x[/] [31m 層層" in lines[3]
    assert lines[4] == "3    short"


def test_a_wide_table_wraps_in_its_cells() -> None:
    async def scene(app: WidgetStage, pilot: Pilot[None]) -> None:
        assert "$12.00" in dump(app) and "spent" in dump(app)
        assert "[not] all of it" in dump(app).splitlines()[-1], "what is prose wraps"
        assert max(map(cell_len, dump(app).splitlines())) <= 40
        await pilot.resize_terminal(100, 20)
        await pilot.pause()
        assert table_content(TABLE).plain.splitlines()[2] in dump(app)

    play(TABLE, scene, (40, 14))


@pytest.mark.parametrize("columns", [34, 50, 200])
def test_a_wide_table_wraps_as_text_between_its_words(columns: int) -> None:
    row = ("lite", "three cheap members of three families and 層層 who sums them up", "$0.0031")
    text = render(TableView(columns=("preset", "description", "cost"), rows=(row, ("short",)), align="llr"), columns)
    assert max(map(width, text.splitlines())) <= columns
    assert set(" ".join(row).split()) <= set(text.split())


CALLS = TableView(
    columns=("model", "prompt", "cached", "time", "call"),
    rows=(("lab:gamma-open-weights-instruct", "12,400", "1,200", "9.7 s", "c6f13de7745fdc530"),),
    align="lrrrl",
    spare=("call", "cached"),
)


@pytest.mark.parametrize(("columns", "missing"), [(90, ""), (50, "call"), (34, "cached, call")])
def test_on_a_narrow_screen_figures_stay_whole_and_spare_columns_go(columns: int, missing: str) -> None:
    for text in (render(CALLS, columns), fitted(CALLS, columns).plain):
        assert max(map(width, text.splitlines()[:-1])) <= columns
        assert "12,400" in text and "9.7 s" in text and "lab:" in text
        assert [name for name in ("cached", "call") if name in text.splitlines()[0]] == [
            name for name in ("cached", "call") if name not in missing
        ]
        assert ("not shown, for want of room: " + missing in " ".join(text.split())) == bool(missing)


def test_rows_without_heads_are_all_there_where_they_wrap() -> None:
    facts = TableView(
        columns=("", ""), rows=(("preset", "budget"), ("why", "a turn's first call"), ("warning", "w " * 40))
    )
    assert [line for line in fitted(facts, 40).plain.splitlines() if line.startswith(("preset", "why"))]


def test_a_tree_wraps_as_text_below_its_own_words() -> None:
    tree = TreeView(
        label="all",
        children=(TreeView(label="a point that is said at some length", about="held by alpha", mark="alone"),),
    )
    assert render(tree, 24).splitlines() == [
        "all",
        "  ◆ a point that is",
        "    said at some length",
        "    (held by alpha)",
    ]
    assert render(tree) == "all\n  ◆ a point that is said at some length  (held by alpha)"


def test_a_table_without_rows_says_so() -> None:
    assert "nothing yet" in table_content(TableView(columns=("a",), rows=())).plain
    assert table_content(TableView(columns=(), rows=((),))).plain == ""


def test_a_tree_folds_and_unfolds() -> None:
    async def scene(app: WidgetStage, pilot: Pilot[None]) -> None:
        text = dump(app)
        assert "▾ counsel [/x]" in text and "· nothing" in text and "    down here" not in text.splitlines()[0]
        assert "second [/red][@click=app.quit]x[/] [31m 層層" in text and "down here" in text
        app.query_one(TreeBody).focus()
        await pilot.press("down", "enter")
        assert "▸ 1 said  (2 lines)" in dump(app) and "second" not in dump(app)
        await pilot.press("e")
        assert "second" in dump(app)
        await pilot.press("e")
        assert "down here" not in dump(app) and "▸ deep" in dump(app)
        await pilot.click(TreeBody, offset=(4, 1))
        assert "second" in dump(app)
        await pilot.click(TreeBody, offset=(6, 2))
        assert "second" in dump(app), "a click into the text folds nothing"

    play(TREE, scene)


def test_a_long_tree_begins_folded() -> None:
    long = TreeView(label="all", children=tuple(TreeView(label=f"m{n}", text="line\n" * 30) for n in range(4)))

    async def scene(app: WidgetStage, pilot: Pilot[None]) -> None:
        assert [line.strip() for line in dump(app).splitlines() if line.strip()][1:5] == [
            f"▸ m{n}  (30 lines)" for n in range(4)
        ]

    play(long, scene)


def test_tabs_show_one_view_at_a_time_by_key_and_by_click() -> None:
    inner = TabsView(tabs=(("in1", MarkdownView(text="# inner one")), ("in2", MarkdownView(text="inner two"))))
    view = TabsView(tabs=(("table", TABLE), ("tree", TREE), ("plot", PLOT), ("in", inner)))

    async def scene(app: WidgetStage, pilot: Pilot[None]) -> None:
        line = app.query_one(TabLine)
        line.focus()
        assert "$12.00" in dump(app)
        await pilot.press("right")
        await pilot.pause()
        assert "down here" in dump(app) and "$12.00" not in dump(app)
        await pilot.press("left", "left")
        await pilot.pause()
        assert "inner one" in dump(app), "round the corner"
        nested = list(app.query(TabLine))[1]
        nested.choose(1)
        await pilot.pause()
        assert "inner two" in dump(app) and "table" in dump(app).splitlines()[0]
        await pilot.click(TabLine, offset=(16, 0))
        await pilot.pause()
        assert "by day (US$)" in dump(app)

    play(view, scene)


def test_a_plot_has_bars_in_proportion() -> None:
    async def scene(app: WidgetStage, pilot: Pilot[None]) -> None:
        lines = dump(app).splitlines()
        assert lines[0].strip() == "by day (US$)"
        assert lines[1].count("█") == pytest.approx(2 * lines[2].count("█"), abs=1)
        assert lines[1].endswith("1.5") and lines[3].endswith("  0") and lines[4].endswith("?")

    play(PLOT, scene)


@pytest.mark.sample(6)
@pytest.mark.parametrize("size", [(40, 12), (250, 60)])
@pytest.mark.parametrize(
    "view", [TABLE, TREE, PLOT, MarkdownView(text=f"# {HOSTILE}\n\n- a")], ids=lambda view: view.type
)
def test_the_frame_holds_at_any_width(view: View, size: tuple[int, int]) -> None:
    async def scene(app: WidgetStage, pilot: Pilot[None]) -> None:
        assert widths(app) == {size[0]} and "\x1b" not in dump(app)
        await pilot.resize_terminal(45, 15)
        await pilot.pause()
        assert widths(app) == {45}

    play(view, scene, size)


@given(st.text(), st.integers(0, 60))
def test_what_is_fitted_has_exactly_its_cells(text: str, cells: int) -> None:
    text = "".join(char for char in text if char.isprintable())
    assert cell_len(fit(text, cells)) == cells
    assert cell_len(fit(text, cells, right=True)) == cells
    assert cell_len(tail(text, cells)) == cells


@given(st.lists(st.tuples(st.text(max_size=30), st.floats()), max_size=8), st.integers(1, 250))
def test_bars_take_anything_and_are_as_wide_as_each_other(series: list[tuple[str, float]], width: int) -> None:
    made = bars(series, width)
    assert len(made) == len(series)
    assert len({sum(cell_len(part) for part in row) for row in made}) <= 1
    assert len(sparkline([value for _label, value in series])) == len(series)


def test_figures_are_short() -> None:
    assert [count(n) for n in (0, 812, 12_345, 512_345, 1_234_567)] == ["0", "812", "12.3k", "512k", "1.2M"]
    assert [show_cost(*args) for args in ((0.0031,), (1.5, True), (None,), ("x",), (math.nan,))] == [
        "$0.0031",
        "≥ $1.50",
        "unknown",
        "unknown",
        "unknown",
    ]
    assert [span(8.23), span(8.23, exact=True), span(185.0), span("soon")] == ["8 s", "8.2 s", "3:05", "?"]
    assert bar(0.001, 1.0, 10) == "▏" and bar(1, 1, 3) == "███" and bar(-1, 1, 3) == ""
    assert sparkline([0, 1, 8, math.inf]) == "▁▁█ "
    assert tail("one two three", 6) == "…three"
