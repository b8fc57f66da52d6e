"""How long the main model was held up by the calls beside it: from the books' own times, so that work side by side counts once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from agent.ledger.rows import CallRow

Span = tuple[float, float]


def held_up(calls: Sequence[CallRow], role: str | None = None) -> float:
    """Seconds in which a call beside the main model ran and the main model did not: what it had to wait for.

    `role` limits it to one (`aggregator`, `reference/2`, as `Grouping` has them). What ran while the main model worked (a lookahead, a
    title) added nothing.
    """
    beside = [call for call in calls if call.purpose != "main" and role in (None, role_of(call))]
    own = [call for call in calls if call.purpose == "main"]
    waited = _merged(_span(call) for call in beside)
    return _length(waited) - _overlap(waited, _merged(_span(call) for call in own))


def role_of(call: CallRow) -> str:
    """Who a call was for, as the ledger groups it by role."""
    return f"{call.purpose}/{call.slot}" if call.slot else call.purpose


def _span(call: CallRow) -> Span:
    begin = call.sent or call.started
    end = call.ended if call.ended is not None else begin + (call.duration_s or 0.0)
    return (begin, max(begin, end))


def _merged(spans: Iterable[Span]) -> list[Span]:
    found: list[Span] = []
    for begin, end in sorted(spans):
        if found and begin <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((begin, end))
    return found


def _length(spans: Iterable[Span]) -> float:
    return sum(end - begin for begin, end in spans)


def _overlap(one: Sequence[Span], other: Sequence[Span]) -> float:
    """Both lists are merged: in order, and without overlaps of their own."""
    total, at = 0.0, 0
    for begin, end in one:
        while at < len(other) and other[at][1] <= begin:
            at += 1
        further = at
        while further < len(other) and other[further][0] < end:
            total += min(end, other[further][1]) - max(begin, other[further][0])
            further += 1
    return total
