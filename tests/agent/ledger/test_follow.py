"""`moa activity --follow`: a line when a call goes out, one when it has ended, each once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from agent.ledger.book import Ledger
from agent.ledger.follow import follow
from agent.llm.accounting import Bound, CallContext, Settlement
from agent.llm.request import ModelRef
from agent.llm.stream import Usage
from tests.support.databases import place

CONTEXT = CallContext("serve", session="s", run="r", turn="t", iteration=2)


class Over(Exception):
    pass


def test_each_call_is_told_when_it_begins_and_when_it_has_ended(tmp_path: Path) -> None:
    now = [1_000_000.0]
    ledger = Ledger(place(tmp_path / "l.db"), clock=lambda: now[0])
    ids: list[str] = []

    def begin() -> None:
        ids.append(ledger.reserve(ModelRef("a", "big"), CONTEXT, Bound(900, 100, 4_000_000)))
        ledger.sent(ids[-1])

    def end() -> None:
        ledger.settle(ids[0], Settlement("done", Usage(200, 0, 0, 20), 1_000_000, "prices", model_served="x\x1b[2J"))

    steps = iter([begin, begin, lambda: None, end, lambda: None])

    def wait(_seconds: float) -> None:
        now[0] += 0.5
        step = next(steps, None)
        if step is None:
            raise Over
        step()

    lines = _until_over(follow(ledger, wait=wait))
    assert ["…" in line for line in lines] == [True, True, False]
    assert "200 → 20 tokens" in lines[-1] and "$0.001" in lines[-1] and "\x1b" not in lines[-1]
    found = _until_over(follow(ledger, wait=wait, since=now[0] - 60, as_json=True))
    assert [json.loads(line)["id"] for line in found] == [ids[0]]
    ledger.close()


def _until_over(lines: Iterator[str]) -> list[str]:
    found = []
    with suppress(Over):
        for line in lines:
            found.append(line)
    return found
