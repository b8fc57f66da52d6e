"""PostgreSQL that is away: what was begun leaves nothing behind, and nobody waits for all the others. With `MOA_TEST_DATABASE=postgres` alone."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.ledger.book import Ledger
from agent.ledger.patient import PatientLedger
from agent.ledger.store import Locked
from agent.llm.accounting import Bound, CallContext, Settlement
from agent.llm.request import ModelRef
from agent.llm.stream import Usage
from tests.support import databases
from tests.support.cut_database import Cut
from tests.support.waiting import until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not databases.wanted(), reason="MOA_TEST_DATABASE is not postgres"),
]
MODEL = ModelRef("fake", "m")
CONTEXT = CallContext("main", session="s", run="r", turn="t")
BOUND = Bound(50, 50, 1_000)
DONE = Settlement("done", Usage(prompt=40, completion=2), 44, "prices")
FAR = 10**6


@pytest.fixture
def cut(tmp_path: Path) -> Iterator[Cut]:
    with Cut(databases.address(tmp_path / "ledger.db")) as cut:
        yield cut


def test_a_reservation_that_was_given_up_is_taken_back(cut: Cut) -> None:
    """It was made, nobody heard of it, and the database did not come back in time."""

    async def main() -> None:
        books, seen = PatientLedger(ledger), Ledger(cut.beyond)
        held = "SELECT count(*) FROM calls"
        for _time in range(2):  # the first makes the day, too
            cut.at(FAR, "after")
            call = await books.reserve(MODEL, CONTEXT, BOUND)
            last = cut.never()
            await books.release(call)
        cut.at(last, "after", stays=True)
        with pytest.raises(Locked):
            await books.reserve(MODEL, CONTEXT, BOUND)
        assert cut.cuts == 1 and seen.database.rows(held) == [(1,)]
        cut.back()
        await until(lambda: seen.database.rows(held) == [(0,)])
        seen.close()

    ledger = Ledger(cut.address)
    try:
        asyncio.run(main())
    finally:
        ledger.close()


def test_calls_from_a_file_are_written_once(cut: Cut) -> None:
    async def main() -> list[str]:
        books, ids = PatientLedger(ledger), list[str]()
        for _time in range(2):  # the first makes the day, too
            cut.at(FAR, "after")
            ids += await books.told([(MODEL, CONTEXT, DONE)])
        cut.at(cut.never(), "after")
        return ids + await books.told([(MODEL, CONTEXT, DONE)])

    ledger = Ledger(cut.address)
    try:
        ids = asyncio.run(main())
        assert cut.cuts == 1 and [row.id for row in ledger.calls()] == ids
    finally:
        ledger.close()


def test_those_who_wait_for_a_machine_that_is_gone_are_told_together(cut: Cut) -> None:
    """It takes seconds to learn that nobody answers: one of them asks, for all who wait in the same thread."""

    async def main() -> list[object]:
        work = [ledger.patiently(ledger.calls, 1.0) for _ in range(20)]
        return await asyncio.gather(*work, return_exceptions=True)

    ledger = Ledger(f"{cut.address}&connect_timeout=2")
    try:
        with cut.away(), cut.mute() as asked:
            found = asyncio.run(main())
            assert len(asked) <= 3
    finally:
        ledger.close()
    assert all(isinstance(each, Locked) for each in found)
