"""The ledger's days, against which a day's cap counts.

A day begins and ends at local midnight, by the time zone that holds when its first call is made, and then stays what it is: whoever sets
another TZ meanwhile is still in it. So no change of zone makes room under a cap. After such a change the first midnight that makes the
day at least `SHORTEST_S` long ends it.
"""

from __future__ import annotations

import time
from datetime import date, timedelta
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from agent.ledger.store import Store

SHORTEST_S = 20 * 3600.0
_WRONG_CLOCK_S = 48 * 3600.0


def today(database: Store, now: float) -> str:
    """The day that `now` (Unix seconds) is in, as a date; the local date where no call was made in it yet. Writes nothing."""
    found = begun(database, now)
    return found.day if found is not None else time.strftime("%Y-%m-%d", time.localtime(now))


def enter(database: Store, now: float) -> str:
    """As `today`; the day begins with this call where it has not begun. To be called inside a transaction."""
    found = begun(database, now)
    return found.day if found is not None else _begin(database, now)


def after(day: str) -> str:
    """The next date."""
    return str(date.fromisoformat(day) + timedelta(1))


class Begun(NamedTuple):
    """A day in which a call was made. It holds for every moment from `since`, when it was looked up, until it ends."""

    day: str
    since: float
    ends: float


def begun(database: Store, now: float) -> Begun | None:
    """The day that `now` is in, where a call was made in it already: it stays what it is."""
    # A day far ahead was begun by a clock that was wrong.
    found = database.rows(
        "SELECT day, ends FROM days WHERE ends > ? AND begins <= ? ORDER BY ends LIMIT 1", (now, now + _WRONG_CLOCK_S)
    )
    return Begun(found[0][0], now, found[0][1]) if found else None


def _begin(database: Store, now: float) -> str:
    before = database.rows("SELECT day, ends FROM days WHERE ends <= ? ORDER BY ends DESC LIMIT 1", (now,))
    begins = _midnight(now)
    if before:
        begins = max(begins, before[0][1])
    ends = _midnight(begins + SHORTEST_S, days=1)
    day = time.strftime("%Y-%m-%d", time.localtime(ends - 1))
    if before and day <= before[0][0]:
        day = after(before[0][0])
    database.write(
        "INSERT INTO days VALUES (?, ?, ?) ON CONFLICT (day) DO UPDATE SET begins = excluded.begins, ends = excluded.ends",
        (day, begins, ends),
    )
    return day


def _midnight(moment: float, *, days: int = 0) -> float:
    """The last local midnight before a moment, or one so many days later."""
    local = time.localtime(moment)
    # mktime finds out itself whether summer time holds, and takes a day 32 as the next month's first.
    return time.mktime((local.tm_year, local.tm_mon, local.tm_mday + days, 0, 0, 0, 0, 0, -1))
