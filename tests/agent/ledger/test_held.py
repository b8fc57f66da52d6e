"""How long calls beside the main model held it up."""

from __future__ import annotations

from dataclasses import fields

import pytest

from agent.ledger.held import held_up
from agent.ledger.rows import CallRow


def call(who: str, begin: float, end: float | None, duration: float | None = None) -> CallRow:
    """A call from `begin` to `end`; who is a purpose, with a slot behind a slash."""
    purpose, _, slot = who.partition("/")
    known = {
        "purpose": purpose,
        "slot": slot or None,
        "started": begin,
        "sent": begin,
        "ended": end,
        "duration_s": duration,
    }
    return CallRow(**{field.name: known.get(field.name) for field in fields(CallRow)})  # type: ignore[arg-type]


PANEL = [
    call("reference/1", 0, 2),
    call("reference/2", 0, 5),
    call("aggregator", 5, 6),
    call("main", 6, 10),
]


@pytest.mark.parametrize(
    ("calls", "role", "seconds"),
    [
        ([], None, 0),
        (PANEL, None, 6),
        (PANEL, "reference/1", 2),
        (PANEL, "reference/2", 5),
        (PANEL, "aggregator", 1),
        (PANEL[3:], None, 0),
        # A lookahead runs while the main model works: only what is left over is waited for.
        ([call("main", 0, 4), call("reference/1", 1, 3)], None, 0),
        ([call("main", 0, 4), call("reference/1", 1, 7), call("main", 7, 8)], None, 3),
        ([call("reference/1", 0, None, 1.5)], None, 1.5),
        ([call("reference/1", 0, None)], None, 0),
        ([*PANEL, *(call("reference/1", 20 + n, 21 + n) for n in range(3))], "reference/1", 5),
    ],
)
def test_work_side_by_side_counts_once(calls: list[CallRow], role: str | None, seconds: float) -> None:
    assert held_up(calls, role) == seconds
