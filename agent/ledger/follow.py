"""Calls as they happen: `moa activity --follow`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from agent.ledger.activity import call_line
from agent.serialize import dumps
from agent.text.cleaning import visible

if TYPE_CHECKING:
    from agent.ledger.book import Ledger
    from agent.ledger.rows import CallRow

EVERY_S = 0.5
LONGEST_S = 3600.0
"""A call that is running for longer is not waited for."""


def follow(
    ledger: Ledger, *, session: str | None = None, since: float | None = None, as_json: bool = False,
    wait: Callable[[float], None] = time.sleep,
) -> Iterator[str]:  # fmt: skip
    """A line for each call when it goes out, and one when it has ended (as JSON: only the latter), without end. `since` is a Unix time
    (None: from now on). Raises StateError."""
    start = ledger.clock() if since is None else since
    told: dict[str, str] = {}
    while True:
        rows = ledger.calls(session=session, since=start)
        for row in rows:
            if told.get(row.id) == row.outcome or (as_json and row.outcome == "reserved"):
                continue
            told[row.id] = row.outcome
            yield _line(row, as_json)
        told = {row.id: told.get(row.id, "") for row in rows}
        open_since = [row.started for row in rows if row.outcome == "reserved"]
        edge = max(start, ledger.clock() - LONGEST_S)
        # Only what may still change, and what is new, is read again.
        newest = max((row.started for row in rows), default=start)
        start = max(edge, min([*open_since, newest]))
        wait(EVERY_S)


def _line(row: CallRow, as_json: bool) -> str:
    return (dumps(row.as_json()) if as_json else visible(call_line(row))) + "\n"
