"""What /activity and `moa activity` show."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from agent.errors import UsageError
from agent.ledger.activity import activity, activity_json, parse_by, parse_since
from agent.ledger.book import Ledger
from agent.llm.accounting import Bound, CallContext, Settlement
from agent.llm.request import ModelRef
from agent.llm.stream import Usage
from agent.views import TableView, TabsView
from tests.support.databases import place


def local(*parts: int) -> float:
    return time.mktime((*parts, *(0,) * (6 - len(parts)), 0, 0, -1))  # type: ignore[arg-type]


NOW = local(2026, 11, 3, 12, 30)


@pytest.fixture
def ledger(tmp_path: Path):
    """Two days: yesterday a call that was billed, today one by an alias, one cancelled, one under way and one only reserved."""
    now = [local(2026, 11, 2, 9)]
    ledger = Ledger(place(tmp_path / "l.db"), clock=lambda: now[0])

    def call(purpose, session, model, slot=None, settlement=None, sent=True) -> None:
        context = CallContext(purpose, session=session, run="r", turn="t", iteration=1, slot=slot)
        call_id = ledger.reserve(ModelRef.parse(model), context, Bound(900, 100, 4_000_000))
        if sent:
            ledger.sent(call_id)
        if settlement:
            ledger.settle(call_id, settlement)

    call(
        "main",
        "old",
        "a:big",
        settlement=Settlement("done", Usage(1_500, 1_000, 0, 30), 30_000_000, "reply", duration_s=2),
    )
    now[0] = NOW
    served = Settlement(
        "done", Usage(200, 0, 0, 20), 1_000_000, "prices", model_served="big-1103", ttft_s=0.5, duration_s=1
    )
    call("main", "new", "a:big", settlement=served)
    call("reference", "new", "b:small", slot="skeptic", settlement=Settlement("cancelled", error_kind="cancelled"))
    call("aggregator", "new", "a:big")
    call("main", "new", "a:big", sent=False)
    yield ledger
    ledger.close()


def table(ledger: Ledger, by, **filters) -> TableView:
    view = activity(ledger, by=by, **filters)
    assert isinstance(view, TableView)
    assert all(len(row) == len(view.columns) == len(view.align) for row in view.rows)
    return view


def test_sums_by_model_end_in_the_total(ledger: Ledger) -> None:
    view = table(ledger, "model")
    assert view.columns == ("model", "calls", "not done", "prompt", "cached", "answer", "time", "cost")
    assert view.rows == (
        ("a:big", "3", "1", "≥ 1,700", "1,000", "≥ 50", "3.0 s", "≥ $0.031"),
        ("b:small", "1", "1", "≥ 0", "0", "≥ 0", "0.0 s", "unknown"),
        ("all", "4", "2", "≥ 1,700", "1,000", "≥ 50", "3.0 s", "≥ $0.031"),
    )
    assert view.note == "4 calls, ≥ $0.031; the cost of 2 is not known"


def test_the_other_groupings(ledger: Ledger) -> None:
    assert [row[0] for row in table(ledger, "role").rows] == ["main", "aggregator", "member skeptic", "all"]
    assert [row[0] for row in table(ledger, "session").rows] == ["old", "new", "all"]
    assert [(row[0], row[-1]) for row in table(ledger, "day").rows] == [
        ("2026-11-02", "$0.030"),
        ("2026-11-03", "≥ $0.001"),
        ("all", "≥ $0.031"),
    ]
    assert [row[0] for row in table(ledger, "day", since=local(2026, 11, 3)).rows] == ["2026-11-03"]
    assert table(ledger, "model", session="none").rows == ()
    assert table(ledger, "model", session="none").note == "no calls"


def test_the_list_of_calls_has_the_newest_last(ledger: Ledger) -> None:
    view = table(ledger, "calls", session="new")
    when = "2026-11-03 12:30:00"
    assert view.rows == (
        (when, "main", "1", "a:big → big-1103", "200", "0", "20", "0.5 s", "1.0 s", "done", "$0.001"),
        (when, "member skeptic", "1", "b:small", *("",) * 4, "0.0 s", "cancelled", "unknown, ≤ $0.004"),
        (when, "aggregator", "1", "a:big", *("",) * 5, "under way", "unknown, ≤ $0.004"),
    )


def test_without_a_grouping_there_is_a_tab_for_each(ledger: Ledger) -> None:
    view = activity(ledger)
    assert isinstance(view, TabsView)
    assert [name for name, _ in view.tabs] == ["model", "role", "session", "day", "calls"]
    of_one = activity(ledger, session="new")
    assert isinstance(of_one, TabsView) and "session" not in [name for name, _ in of_one.tabs]


def as_json(ledger: Ledger, **asked: Any) -> dict[str, Any]:
    return json.loads("".join(activity_json(ledger, **asked)))


def test_json_adds_up(ledger: Ledger) -> None:
    said = as_json(ledger)
    assert said["schema"] == 1
    assert said["count"] == len(said["calls"]) == 4
    assert said["cost"] == {"usd": 0.031, "lower_bound": True}
    assert sum(call["cost_usd"] or 0 for call in said["calls"]) == pytest.approx(0.031)
    assert list(said["by"]) == ["session", "model", "role", "day"]
    for groups in said["by"].values():
        assert sum(group["count"] for group in groups) == 4
        assert sum(group["cost"]["usd"] or 0 for group in groups) == pytest.approx(0.031)
    assert list(as_json(ledger, by="role", session="new")["by"]) == ["role"]
    assert as_json(ledger, session="old")["cost"] == {"usd": 0.03, "lower_bound": False}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90m", NOW - 5_400),
        ("2h", NOW - 7_200),
        ("3d", NOW - 3 * 86_400),
        ("1w", NOW - 7 * 86_400),
        ("999999999w", 0.0),
        ("today", local(2026, 11, 3)),
        (" Yesterday ", local(2026, 11, 2)),
        ("2026-11-01", local(2026, 11, 1)),
        ("2028-02-29", local(2028, 2, 29)),
    ],
)
def test_since(text: str, expected: float) -> None:
    assert parse_since(text, now=NOW) == expected


@pytest.mark.parametrize(
    "text", ["", "2", "h", "-2h", "2 h", "2y", "2026-13-01", "2026-02-30", "0000-01-01", "2026-11-1", "tomorrow", "٢h"]
)
def test_since_refuses_what_it_cannot_read(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_since(text, now=NOW)
    assert "2026-11-01" in (refused.value.remedy or "")


def test_a_grouping_is_one_of_five() -> None:
    assert parse_by("role") == "role"
    with pytest.raises(UsageError, match="colour"):
        parse_by("colour")
