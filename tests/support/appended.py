"""Whether what was sent stays sent: judged from the requests that a signing endpoint saw, and from nothing else.

A request belongs to the branch of the newest answer that stands in it: that answer's request is its predecessor. So undo, fork and
going back to an older branch need no telling, and neither do sub-agents beside the main model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.support import prompt
from tests.support.exchange import Exchange

if TYPE_CHECKING:
    from tests.support.signing import Issued, SigningEndpoint

MOST_MARKS = 4
HEAD = 2  # tools and system stand before the items


class Finding(NamedTuple):
    """Something that did not stay: `earlier` is the request that sent it or was answered with it, `later` the one that lacks it."""

    earlier: int
    later: int
    what: str

    def across(self, epochs: Sequence[int]) -> bool:
        """True where one of these requests began an epoch in between."""
        return any(self.earlier < epoch <= self.later for epoch in epochs)


def answers_in(endpoint: SigningEndpoint, exchange: Exchange) -> list[tuple[int, Issued]]:
    """The endpoint's own answers that stand in a request, in order, each with the index of its (last) item."""
    found: list[tuple[int, Issued]] = []
    by_call = {call: issued for issued in endpoint.issued for call in issued.calls}
    by_text: dict[str, list[Issued]] = {}
    for issued in endpoint.issued:
        if not issued.calls and issued.text and issued.request < exchange.number:
            by_text.setdefault(issued.text, []).append(issued)
    items = prompt.prompt(exchange.body)
    for index, item in enumerate(prompt.items_of(exchange.body)):
        calls = prompt.call_ids(item)
        issued = next((by_call[call] for call in sorted(calls) if call in by_call), None)
        if issued is None and not calls and (same := by_text.get(prompt.said_in(item), [])):
            # The same words may have been said twice: the one that was said here has what stands here before it.
            # After an undo, or a change of the model, that does not always tell: a test of those says no words twice.
            issued = next((each for each in reversed(same) if items[: len(each.before)] == each.before), same[-1])
        if issued is not None and (not found or found[-1][1] is not issued):
            found.append((index, issued))
        elif issued is not None:
            found[-1] = (index, issued)
    return found


def calls_of(endpoint: SigningEndpoint, model: str | None, since: int) -> list[Exchange]:
    """The model calls from a request number on; of one model, if named, under whatever name."""
    return [
        seen
        for seen in endpoint.calls()
        if seen.number >= since and (model is None or endpoint.real(seen.model) == endpoint.real(model))
    ]


def losses(endpoint: SigningEndpoint, *, model: str | None, since: int) -> list[Finding]:
    """See SigningEndpoint.losses."""
    lost = []
    told: set[str] = set()
    for exchange in calls_of(endpoint, model, since):
        dialect = prompt.dialect_of(exchange.path)
        carried = {prompt.signature_of(place.thought) for place in prompt.thoughts_of(exchange.body, dialect)}
        carried -= endpoint.dropped
        for _index, issued in answers_in(endpoint, exchange):
            if issued.model != endpoint.real(exchange.model) or issued.key != _key(exchange) or not issued.whole:
                continue
            gone = [signature for signature in issued.signatures if signature not in carried and signature not in told]
            if issued.request >= since and gone:
                told.update(gone)
                what = f"{len(gone)} thoughts of request {issued.request} ({issued.model}) in request {exchange.number}"
                lost.append(Finding(issued.request, exchange.number, what))
    return lost


def breaks(endpoint: SigningEndpoint, *, model: str | None, since: int) -> list[Finding]:
    """See SigningEndpoint.breaks."""
    broken = []
    seen: list[tuple[Exchange, Issued | None]] = []
    for exchange in calls_of(endpoint, model, since):
        items = prompt.prompt(exchange.body)
        answers = [
            issued for _index, issued in answers_in(endpoint, exchange) if issued.model == endpoint.real(exchange.model)
        ]
        newest = answers[-1] if answers else None
        if newest is None:
            seen.append((exchange, newest))
            continue
        before = [(newest.request, f"request {newest.request}", newest.before)] if newest.request >= since else []
        before += [  # those that failed, or were cut short, on the same branch
            (other.number, f"request {other.number} (no answer)", prompt.prompt(other.body))
            for other, branch in seen
            if branch is newest and not _was_answered(endpoint, other)
        ]
        for number, name, sent in before:
            broken += [Finding(number, exchange.number, what) for what in _break(name, sent, exchange, items)]
        seen.append((exchange, newest))
    return broken


def marks_moved(endpoint: SigningEndpoint, *, model: str | None, since: int) -> list[Finding]:
    """More than four cache marks, or a last one that stands before the last one of the request before on the branch."""
    found = []
    by_number = {call.number: call for call in calls_of(endpoint, model, 0)}
    for exchange in calls_of(endpoint, model, since):
        places = prompt.marks(exchange.body)
        if len(places) > MOST_MARKS:
            found.append(
                Finding(exchange.number, exchange.number, f"request {exchange.number}: {len(places)} cache marks")
            )
        answers = [
            issued for _index, issued in answers_in(endpoint, exchange) if issued.model == endpoint.real(exchange.model)
        ]
        if answers and answers[-1].request in by_number:
            before = prompt.marks(by_number[answers[-1].request].body)
            if before and (not places or max(places) < max(before)):
                what = f"request {exchange.number}: the last mark went back from {max(before)} to {max(places, default=None)}"
                found.append(Finding(answers[-1].request, exchange.number, what))
    return found


def _was_answered(endpoint: SigningEndpoint, exchange: Exchange) -> bool:
    return any(issued.request == exchange.number and issued.whole for issued in endpoint.issued)


def _break(what: str, before: Sequence[str], exchange: Exchange, items: Sequence[str]) -> Iterator[str]:
    if items[: len(before)] == list(before):
        return
    where = next(
        (at for at, (a, b) in enumerate(zip(before, items, strict=False)) if a != b), min(len(before), len(items))
    )
    name = {0: "tools", 1: "system"}.get(where, f"item {where - HEAD}")
    old, new = (str(side[where]) if where < len(side) else "(nothing)" for side in (before, items))
    at = next((n for n, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
    yield f"request {exchange.number} does not extend {what}: {name}: …{old[max(0, at - 40) : at + 80]}… is now …{new[max(0, at - 40) : at + 80]}…"


def chain(calls: Sequence[Exchange]) -> list[str]:
    """Of calls that are one conversation, each has to extend the one before it, strictly. What does not, in words."""
    broken = []
    for before, after in pairwise(calls):
        old, new = prompt.prompt(before.body), prompt.prompt(after.body)
        broken += list(_break(f"request {before.number}", old, after, new))
        if old == new:
            broken.append(f"request {after.number} is the same as request {before.number}")
    return broken


def uncached(before: Exchange, after: Exchange, *, lookback: int = 20) -> str | None:
    """Why `after` can't read the whole of `before` from a cache that works by marks; None where it can.

    `before` must have written up to its last block, and `after` must have a mark there, or at most `lookback` blocks behind it.
    """
    wrote, reads = prompt.marks(before.body), prompt.marks(after.body)
    if not wrote or not reads:
        return f"request {before.number} has {len(wrote)} cache marks, request {after.number} {len(reads)}"
    if max(wrote) != _last_place(before.body):
        return f"request {before.number} marks {max(wrote)}, and ends at {_last_place(before.body)}"
    blocks = [(n, at) for n, part in enumerate(_list(after.body)) for at in range(len(prompt.blocks_of(part)))]
    start = blocks.index(max(wrote))
    if not any(place in blocks[start : start + lookback + 1] for place in reads):
        return f"request {after.number} has no mark within {lookback} blocks of {max(wrote)}"
    return None


def _list(body: Mapping[str, Any]) -> list[Any]:
    return [body.get("tools", []), prompt.system_of(body), *prompt.items_of(body)]


def _last_place(body: Mapping[str, Any]) -> tuple[int, int]:
    parts = _list(body)
    return len(parts) - 1, len(prompt.blocks_of(parts[-1])) - 1


def missing(words: str, calls: Sequence[Exchange]) -> list[str]:
    """Of calls that are one conversation: those that lack these words, though an earlier one had them, or a line that none has them."""
    having = [words in prompt.texts(_list(call.body)) for call in calls]
    if True not in having:
        return [f"no request has {words[:60]!r}"]
    first = having.index(True)
    return [
        f"request {call.number} lacks {words[:60]!r}"
        for call, has in zip(calls[first:], having[first:], strict=True)
        if not has
    ]


def _key(exchange: Exchange) -> str:
    from tests.support.signing import key_of

    return key_of(exchange)
