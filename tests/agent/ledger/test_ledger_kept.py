"""What the ledger keeps beside its calls: running totals for caps and sums for activity, always what adding up would give."""

from __future__ import annotations

import os
import sqlite3
import time
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from agent.files.in_use import in_use
from agent.ledger.book import Ledger
from agent.ledger.database import Database
from agent.ledger.rows import sums_query
from agent.ledger.schema import MIGRATIONS, NOBODY
from agent.llm.accounting import Bound, CallContext, Cap, Settlement
from agent.llm.errors import BudgetReached
from agent.llm.request import ModelRef
from agent.llm.stream import Usage

MODEL = ModelRef("fake", "m")
TOTALS = {
    "day": "day",
    "session": f"CASE session WHEN '' THEN '{NOBODY}' || owner ELSE session END",
    "run": f"CASE run WHEN '' THEN '{NOBODY}' || owner ELSE run END",
}


def assert_kept(path: Path) -> None:
    """The totals and sums that are kept are those of the rows."""
    database = Database(path)
    for scope, key in TOTALS.items():
        counted = f"SELECT {key}, coalesce(sum(counts_nano), 0), sum(counts_tokens) FROM calls GROUP BY 1 ORDER BY 1"
        kept = "SELECT key, nano, tokens FROM totals WHERE scope = ? AND (nano <> 0 OR tokens <> 0) ORDER BY 1"
        assert database.rows(kept, (scope,)) == [row for row in database.rows(counted) if row[1:] != (0, 0)]
    visible = "(outcome <> 'reserved' OR sent IS NOT NULL)"
    for by in (None, "session", "model", "role", "day"):
        assert sorted(database.rows(sums_query(by, None, "TRUE"))) == sorted(
            database.rows(sums_query(by, visible, None))
        )
    database.close()


def wander(ledger: Ledger, random: Random, steps: int) -> None:
    """So many calls at random, each a piece of the way that a call can go."""
    for _ in range(steps):
        context = CallContext(
            random.choice(["main", "reference"]),
            session=random.choice(["", "a", "b"]),
            run=random.choice(["", "r"]),
            turn=random.choice(["t", "u"]),
            slot=random.choice([None, "one"]),
        )
        model = ModelRef("fake", random.choice(["m", "n"]))
        call = ledger.reserve(model, context, Bound(random.randrange(900), 100, random.choice([None, 0, 4_000])))
        way = random.randrange(6)
        if way == 0:
            ledger.release(call)
        if way >= 2:
            ledger.adjust(call, context, Bound(10, 10, random.choice([None, 50])))
            ledger.sent(call)
        if way >= 3:
            ledger.sent(call, generation_id="g")
        if way >= 4:
            usage = random.choice([None, Usage(40, 30, 5, 7, 3)])
            cost = random.choice([None, 77])
            ledger.settle(call, Settlement(random.choice(["done", "failed"]), usage, cost, "prices", duration_s=0.5))


def test_what_is_kept_is_what_adding_up_would_give(tmp_path: Path) -> None:
    now = [time.time()]
    ledger = Ledger(tmp_path / "l.db", clock=lambda: now[0])
    random = Random(7)
    for _ in range(3):
        wander(ledger, random, 60)
        now[0] += 86_400
    assert_kept(tmp_path / "l.db")
    with sqlite3.connect(tmp_path / "l.db") as hand:  # as if its process had died
        hand.execute("UPDATE calls SET owner = '7.1@elsewhere/abc/[1]' WHERE outcome = 'reserved'")
    hand.close()
    now[0] += 7 * 3_600
    assert ledger.sweep() > 0
    ledger.close()
    assert_kept(tmp_path / "l.db")


def test_sums_from_a_moment_on_are_those_of_the_calls_since(tmp_path: Path) -> None:
    now = [1_795_690_800.0]
    ledger = Ledger(tmp_path / "l.db", clock=lambda: now[0])
    random = Random(11)
    for _ in range(12):
        wander(ledger, random, 12)
        now[0] += random.randrange(3_600, 3 * 86_400)
    started = [row.started for row in ledger.calls()]
    moments = [0.0, *started[::9], started[-1] + 1, *(moment + 40_000 for moment in started[::17])]
    for since in moments:
        rows = ledger.calls(since=since)
        assert [group.calls for group in ledger.sums(since=since)] == [len(rows)]
        assert ledger.sums(since=since)[0].total.nano == sum(row.cost_nano or 0 for row in rows)
        for key in ("a", "b"):
            assert ledger.sums(session=key, since=since)[0].calls == sum(row.session == key for row in rows)
        assert {group.key: group.calls for group in ledger.sums("day", since=since)} == Counter(row.day for row in rows)
    ledger.close()


def test_an_older_file_gets_its_totals_and_keeps_its_caps(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    old = Database(path, MIGRATIONS[:1])
    today = time.strftime("%Y-%m-%d")
    for number, (day, outcome, nano) in enumerate(
        [("2025-01-01", "done", 5), (today, "done", 700), (today, "unknown", None), (today, "reserved", None)]
    ):
        old.write(
            "INSERT INTO calls (id, purpose, session, run, turn, iteration, day, endpoint, model_requested, reserved_tokens,"
            " reserved_nano, counts_tokens, counts_nano, cost_nano, cost_source, outcome, retries, started, owner)"
            " VALUES (?, 'main', 's', 'r', 't', 1, ?, 'fake', 'm', 100, 900, 100, ?, ?, 'prices', ?, 0, ?, '1.1@here/0/0')",
            (f"c{number}", day, 900 if nano is None else nano, nano, outcome, time.time()),
        )
    old.close()
    ledger = Ledger(path)
    assert ledger.total().nano == 705
    assert ledger.sums(day=today)[0].calls == 2
    for cap, fits in ((2_500, False), (2_501, True)):
        capped = CallContext("main", caps=(Cap("day", "[budget] day_usd", nano=cap),))
        try:
            ledger.release(ledger.reserve(MODEL, capped, Bound(1, 0, 1)))
        except BudgetReached:
            assert not fits
        else:
            assert fits
    ledger.close()
    assert_kept(path)


@pytest.fixture
def zone(monkeypatch: pytest.MonkeyPatch):
    """Sets TZ."""

    def put(name: str) -> None:
        monkeypatch.setenv("TZ", name)
        time.tzset()

    yield put
    monkeypatch.undo()
    time.tzset()


def test_a_changed_zone_makes_no_room_under_a_cap_of_the_day(tmp_path: Path, zone) -> None:
    now = [1_795_690_800.0]  # 2026-11-26 11:00 UTC
    capped = CallContext("main", caps=(Cap("day", "[budget] day_usd", nano=1_000),))
    ledger = Ledger(tmp_path / "l.db", clock=lambda: now[0])

    def refused() -> bool:
        try:
            call = ledger.reserve(MODEL, capped, Bound(1, 0, 900))
        except BudgetReached:
            return True
        ledger.settle(call, Settlement("done", Usage(1), 900, "prices"))
        return False

    zone("UTC0")
    assert [refused(), refused(), ledger.today()] == [False, True, "2026-11-26"]
    for name in ("<+14>-14", "<-12>12", "UTC0"):
        zone(name)
        assert refused() and ledger.today() == "2026-11-26"
    now[0] += 13 * 3_600  # the day that began in UTC is over
    assert [refused(), refused(), ledger.today()] == [False, True, "2026-11-27"]
    now[0] += 23.5 * 3_600
    zone("<+14>-14")
    assert refused()  # 23:30 in UTC, where the 27th began
    now[0] += 3_600
    assert not refused()
    begun = now[0]
    while refused():
        now[0] += 600
    assert 20 * 3_600 <= now[0] - begun <= 47 * 3_600
    assert len({row.day for row in ledger.calls()}) == 4
    ledger.close()


def test_a_clock_that_was_wrong_once_ends_no_days(tmp_path: Path) -> None:
    now = [4_000_000_000.0]
    ledger = Ledger(tmp_path / "l.db", clock=lambda: now[0])
    capped = CallContext("main", caps=(Cap("day", "[budget] day_usd", nano=1_000),))
    ledger.reserve(MODEL, capped, Bound(1, 0, 900))
    now[0] = 1_795_690_800.0
    ledger.reserve(MODEL, capped, Bound(1, 0, 900))
    ledger.close()


def test_the_file_is_known_as_in_use_by_every_name(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.db")
    ledger.reserve(MODEL, CallContext("main"), Bound(1, 0, 1))
    (tmp_path / "link.png").symlink_to(tmp_path / "ledger.db")
    os.link(tmp_path / "ledger.db-shm", tmp_path / "hard")
    (tmp_path / "other").write_text("")
    names = ("ledger.db", "ledger.db-wal", "ledger.db-shm", "link.png", "hard", "other", "none")
    assert [in_use(tmp_path / name) for name in names] == [True] * 5 + [False] * 2
    again = Ledger(tmp_path / "ledger.db")
    ledger.close()
    ledger.close()
    assert in_use(tmp_path / "ledger.db")
    again.close()
    assert not in_use(tmp_path / "ledger.db")
