"""A ledger that another program has locked: whoever waits for it, the event loop does not."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.errors import StateError
from agent.ledger.book import Ledger
from agent.ledger.database import Locked
from agent.ledger.patient import AFTER_S, PatientLedger
from agent.llm.accounting import Bound, CallContext, Settlement
from agent.llm.request import ModelRef
from agent.llm.stream import Usage
from tests.support import clock

MODEL = ModelRef("fake", "m")
CONTEXT = CallContext("main", session="s", run="r", turn="t")
BOUND = Bound(50, 50, 1_000)
DONE = Settlement("done", Usage(prompt=40, completion=2), 44, "prices")


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger(tmp_path / "ledger.db")
    yield ledger
    ledger.close()


@contextmanager
def locked(ledger: Ledger) -> Iterator[None]:
    """As another program would: in the middle of a write."""
    other = sqlite3.connect(ledger.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


async def turns_of_the_loop(waiting: asyncio.Task[object]) -> None:
    """The loop goes round while somebody waits."""
    for _ in range(200):
        await asyncio.sleep(0)
        assert not waiting.done()


async def others() -> None:
    """What goes on by itself comes to its end."""
    await asyncio.wait(asyncio.all_tasks() - {asyncio.current_task()})


def test_every_step_of_a_call_waits_off_the_loop(ledger: Ledger) -> None:
    async def main() -> None:
        books = PatientLedger(ledger)
        with locked(ledger):
            reserving = asyncio.create_task(books.reserve(MODEL, CONTEXT, BOUND))
            await turns_of_the_loop(reserving)
            assert ledger.calls() == []  # what only reads is not held up
        call = await reserving
        for step in (
            lambda: books.adjust(call, CONTEXT, BOUND),
            lambda: books.sent(call),
            lambda: books.settle(call, DONE),
        ):
            with locked(ledger):
                waiting = asyncio.create_task(step())
                await turns_of_the_loop(waiting)
            await waiting
        unused = await books.reserve(MODEL, CONTEXT, BOUND)
        with locked(ledger):
            waiting = asyncio.create_task(books.release(unused))
            await turns_of_the_loop(waiting)
        await waiting
        assert [(row.id, row.outcome, row.cost_nano) for row in ledger.calls()] == [(call, "done", 44)]

    asyncio.run(main())


def test_an_answer_does_not_wait_until_its_id_is_written(ledger: Ledger) -> None:
    async def main() -> None:
        books = PatientLedger(ledger)
        call = await books.reserve(MODEL, CONTEXT, BOUND)
        with locked(ledger):
            await books.sent(call, generation_id="g")
            assert ledger.calls() == []
        await others()
        assert [row.generation_id for row in ledger.calls()] == ["g"]

    clock.run(main())


def test_what_happened_is_written_however_long_that_takes(ledger: Ledger) -> None:
    """Whoever waits for it gets on after a minute: the answer was paid for, and its bound counts until then."""

    async def main() -> None:
        books = PatientLedger(ledger)
        call = await books.reserve(MODEL, CONTEXT, BOUND)
        await books.sent(call)
        with locked(ledger):
            await books.settle(call, DONE)
            assert AFTER_S <= clock.now() < 2 * AFTER_S
            await clock.sleep(3600)
            assert [row.outcome for row in ledger.calls()] == ["reserved"]
        await others()
        assert [(row.outcome, row.cost_nano) for row in ledger.calls()] == [("done", 44)]

    clock.run(main())


def test_what_happened_is_written_though_nobody_waits_for_it_any_more(ledger: Ledger) -> None:
    async def main() -> None:
        books = PatientLedger(ledger)
        call = await books.reserve(MODEL, CONTEXT, BOUND)
        await books.sent(call)
        with locked(ledger):
            settling = asyncio.create_task(books.settle(call, DONE))
            await turns_of_the_loop(settling)
            settling.cancel()
            await asyncio.wait([settling])
            assert settling.cancelled()
        await others()
        assert [(row.outcome, row.cost_nano) for row in ledger.calls()] == [("done", 44)]

    asyncio.run(main())


def test_a_wait_ends_with_what_to_do(ledger: Ledger) -> None:
    with locked(ledger):
        with pytest.raises(Locked, match="keeps it locked") as caught:
            asyncio.run(ledger.patiently(lambda: ledger.reserve(MODEL, CONTEXT, BOUND), 0.0))
        assert isinstance(caught.value, StateError)
        assert "end the program that holds it" in (caught.value.remedy or "")
        assert ledger.sweep() == 0


def test_sweeping_is_left_for_later(ledger: Ledger) -> None:
    call = ledger.reserve(MODEL, CONTEXT, BOUND)
    ledger.sent(call)
    with sqlite3.connect(ledger.path) as hand:
        hand.execute("UPDATE calls SET owner = ?, started = 0", ("7.1@elsewhere/abc/[1]",))
    hand.close()
    with locked(ledger):
        assert ledger.sweep() == 0
    assert ledger.sweep() == 1
