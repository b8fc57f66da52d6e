"""A ledger with many calls in it, made by SQL, and what `moa activity` did with one before sums were kept."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from agent.ledger.book import Ledger
from agent.ledger.database import Database
from agent.ledger.rows import COLUMNS, CallRow, Sum
from agent.llm.money import Total
from agent.llm.stream import Usage

ROLES = (("main", None), ("reference", "skeptic"), ("reference", "builder"), ("aggregator", None))
DAY_S = 86_400.0
A_SESSION = 500


def fill(path: Path, number: int, *, now: float, one_day: bool = False) -> None:
    """Put so many settled calls into a ledger: within one day, or 5,000 a day up to `now` (Unix seconds)."""
    ledger = Ledger(path, clock=lambda: now)
    today = ledger.today()
    ledger.close()
    database = Database(path)
    with database.transaction():
        for index, row in enumerate(_rows(number, now, today if one_day else None)):
            database.write(
                "INSERT INTO calls (id, purpose, slot, session, run, turn, iteration, day, endpoint, model_requested, reserved_tokens,"
                " reserved_nano, counts_tokens, counts_nano, prompt_tokens, cached_tokens, cache_write_tokens, completion_tokens,"
                " reasoning_tokens, cost_nano, cost_source, ttft_s, duration_s, outcome, retries, started, sent, ended, owner)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'fake', ?, 20000, 90000, 1100, 4500, 1000, 700, 0, 100, 20, 4500, 'prices', 0.5, 2.5,"
                " 'done', 0, ?, ?, ?, '1.1@here/0/0')",
                (f"c{index:015x}", *row),
            )
    database.close()


def _rows(number: int, now: float, today: str | None) -> Iterator[tuple[object, ...]]:
    import time

    for index in range(number):
        days_ago = 0 if today else (number - index) // 5_000
        started = now - days_ago * DAY_S - (number - index) % 5_000 / 10
        day = today or time.strftime("%Y-%m-%d", time.localtime(started))
        session = f"20260101-000000-{index // A_SESSION:04x}"
        purpose, slot = ROLES[index % len(ROLES)]
        turn = f"{session}:{index // 20:x}"
        yield purpose, slot, session, f"r{index // 100:x}", turn, index % 20, day, f"model-{index % 3}", *(started,) * 3


_OLD_KEYS = {
    "model": ("endpoint || ':' || model_requested", "total(cost_nano) DESC, 1"),
    "role": ("purpose || coalesce('/' || slot, '')", "total(cost_nano) DESC, 1"),
    "session": ("session", "max(started)"),
    "day": ("day", "1"),
    "": ("''", "1"),
}


def activity_of_old(path: Path) -> int:
    """As commit 03c5d12 did: every table with a sum of its own, all calls twice, and the whole JSON beside the tables. How many calls."""
    database = Database(path)

    def sums(by: str) -> list[Sum]:
        key, order = _OLD_KEYS[by]
        rows = database.rows(
            f"SELECT {key}, count(*), count(CASE WHEN outcome <> 'done' THEN 1 END), count(*) - count(prompt_tokens),"
            " coalesce(sum(cost_nano), 0), count(cost_nano), count(*) - count(cost_nano),"
            " coalesce(sum(prompt_tokens), 0), coalesce(sum(cached_tokens), 0), coalesce(sum(cache_write_tokens), 0),"
            " coalesce(sum(completion_tokens), 0), coalesce(sum(reasoning_tokens), 0), total(duration_s)"
            " FROM calls WHERE (outcome <> 'reserved' OR sent IS NOT NULL)"
            + (f" GROUP BY 1 ORDER BY {order}" if by else "")
        )
        return [Sum(*row[:4], Total(*row[4:7]), Usage(*row[7:12]), duration_s=row[12]) for row in rows]

    def calls() -> list[CallRow]:
        rows = database.rows(
            f"SELECT {COLUMNS} FROM calls WHERE (outcome <> 'reserved' OR sent IS NOT NULL) ORDER BY started, rowid"
        )
        return [CallRow(*row) for row in rows]

    shown = [[str(group) for group in (*sums(by), *sums(""))] for by in ("model", "role", "session", "day")]
    shown.append([list(row.as_json().items()) for row in calls()[-30:]])
    sums("")
    data = {
        "by": {by: [asdict(group.usage) for group in sums(by)] for by in ("session", "model", "role", "day")},
        "total": [asdict(group.usage) for group in sums("")],
        "calls": [row.as_json() for row in calls()],
    }
    print(json.dumps(shown))
    return len(data["calls"])


if __name__ == "__main__":
    print(activity_of_old(Path(sys.argv[1])))
