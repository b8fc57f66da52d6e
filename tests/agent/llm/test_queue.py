"""Who goes first, and that no place is ever lost."""

from __future__ import annotations

import asyncio
import random

from hypothesis import given
from hypothesis import strategies as st

from agent.llm.net.queue import Gate, rank
from tests.support.waiting import soon


def test_the_main_model_first_then_the_aggregator_then_by_arrival() -> None:
    async def main() -> None:
        gate, order = Gate(1), []

        async def call(name: str, purpose: str) -> None:
            await gate.acquire(rank(purpose))  # type: ignore[arg-type]
            order.append(name)
            await asyncio.sleep(0)
            gate.release()

        await gate.acquire(0)
        calls = [("r1", "reference"), ("t", "title"), ("a", "aggregator"), ("r2", "reference"), ("m", "main")]
        tasks = [asyncio.create_task(call(*each)) for each in calls]
        await asyncio.sleep(0)
        gate.release()
        await asyncio.gather(*tasks)
        assert order == ["m", "a", "r1", "t", "r2"]

    asyncio.run(main())


def test_the_accounts_take_turns_whatever_they_ask_for() -> None:
    """Who asks a panel does not wait behind somebody else's thousand calls that are passed on."""

    async def main() -> None:
        gate, order = Gate(1), []

        async def call(account: str, rank: int) -> None:
            await gate.acquire(rank, account)
            order.append(account)
            gate.release()

        await gate.acquire(0)
        tasks = [asyncio.create_task(call(*each)) for each in [("a", 0)] * 4 + [("b", 0)] * 2 + [("c", 1), ("b", 0)]]
        await asyncio.sleep(0)
        gate.release()
        await asyncio.gather(*tasks)
        assert order == ["a", "b", "c", "a", "b", "a", "b", "a"]

    asyncio.run(main())


def test_who_has_left_takes_no_turn_from_their_account() -> None:
    async def main() -> None:
        gate, order = Gate(1), []

        async def call(account: str) -> None:
            await gate.acquire(0, account)
            order.append(account)
            gate.release()

        await gate.acquire(0)
        tasks = [asyncio.create_task(call(account)) for account in "aaaaabbb"]
        await asyncio.sleep(0)
        for left in tasks[:4]:
            left.cancel()
        await asyncio.sleep(0)
        gate.release()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert order == ["a", "b", "b", "b"]

    asyncio.run(main())


@given(limit=st.integers(1, 4), seed=st.integers(0, 10_000), callers=st.integers(1, 25))
def test_cancelling_at_any_moment_loses_no_place(limit: int, seed: int, callers: int) -> None:
    async def main() -> None:
        dice, gate, inside, most = random.Random(seed), Gate(limit), 0, 0

        async def call() -> None:
            nonlocal inside, most
            await gate.acquire(dice.randrange(3), dice.choice("abc"))
            try:
                inside += 1
                most = max(most, inside)
                for _ in range(dice.randrange(3)):
                    await asyncio.sleep(0)
            finally:
                inside -= 1
                gate.release()

        tasks = [asyncio.create_task(call()) for _ in range(callers)]
        for _ in range(callers):
            await asyncio.sleep(0)
            if dice.random() < 0.5:
                dice.choice(tasks).cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert inside == 0 and most <= limit
        # Every place is there again.
        await soon(asyncio.gather(*(gate.acquire(0) for _ in range(limit))))

    asyncio.run(main())
