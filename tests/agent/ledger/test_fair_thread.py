"""The thread of a database: in order for each account, and no account behind another's thousand."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import CancelledError
from contextvars import copy_context

import pytest

from agent.ledger.fair_thread import ACCOUNT, FairThread


def test_the_accounts_take_turns_and_each_is_in_order() -> None:
    thread, goes, done = FairThread("t"), threading.Event(), []
    asked = [("", goes.wait), *(("a", lambda at=at: done.append(f"a{at}")) for at in range(4))]
    asked += [("b", lambda at=at: done.append(f"b{at}")) for at in range(2)]
    futures = []
    for account, work in asked:
        context = copy_context()
        context.run(ACCOUNT.set, account)
        futures.append(context.run(thread.submit, work))
    futures[2].cancel()
    goes.set()
    thread.shutdown()
    assert done == ["a0", "b0", "b1", "a2", "a3"] and futures[2].cancelled()
    with pytest.raises(RuntimeError):
        thread.submit(print)


def test_what_goes_wrong_is_told_to_who_asked() -> None:
    def fail(error: BaseException) -> None:
        raise error

    thread = FairThread("t")
    for error in (ValueError("no"), CancelledError()):
        with pytest.raises(type(error)):
            thread.submit(fail, error).result(10)
    thread.shutdown()


def test_a_task_is_on_the_account_of_the_request_that_made_it() -> None:
    async def main() -> list[str]:
        loop, done = asyncio.get_running_loop(), list[str]()

        async def request(account: str) -> None:
            ACCOUNT.set(account)
            await asyncio.gather(*(loop.run_in_executor(thread, done.append, account) for _ in range(3)))

        blocked = loop.run_in_executor(thread, goes.wait)
        asking = [asyncio.create_task(request(account)) for account in "ab"]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        goes.set()
        await asyncio.gather(blocked, *asking)
        return done

    thread, goes = FairThread("t"), threading.Event()
    assert asyncio.run(main()) == ["a", "b", "a", "b", "a", "b"]
    thread.shutdown()
