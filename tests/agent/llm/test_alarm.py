"""The moving deadline: it rings when it should, and one timer serves all pieces."""

from __future__ import annotations

import asyncio

import pytest

from agent.llm.net.alarm import Alarm
from tests.support import clock


async def _never() -> None:
    await asyncio.get_running_loop().create_future()


async def _at_once() -> int:
    await asyncio.sleep(0)
    return 7


def test_a_thousand_pieces_need_one_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> int:
        loop, made = asyncio.get_running_loop(), 0
        call_at = loop.call_at

        def counted(*arguments: object, **more: object) -> asyncio.TimerHandle:
            nonlocal made
            made += 1
            return call_at(*arguments, **more)  # type: ignore[arg-type]

        monkeypatch.setattr(loop, "call_at", counted)
        alarm = Alarm()
        for _ in range(1_000):
            assert await alarm.bound(_at_once(), loop.time() + 60) == 7
        alarm.stop()
        return made

    assert clock.run(run()) == 1


@pytest.mark.parametrize("moves", [0, 3])
def test_it_rings_at_the_last_deadline(moves: int) -> None:
    async def run() -> None:
        loop, alarm = asyncio.get_running_loop(), Alarm()
        for _ in range(moves):
            await alarm.bound(clock.sleep(0.01), loop.time() + 0.03)
        began = loop.time()
        with pytest.raises(TimeoutError):
            await alarm.bound(_never(), began + 0.03)
        assert alarm.rang and loop.time() - began >= 0.03
        assert await alarm.bound(_at_once(), loop.time() + 60) == 7
        assert not alarm.rang
        alarm.stop()

    clock.run(asyncio.wait_for(run(), 10))


def test_a_nearer_deadline_comes_first_and_a_time_out_of_the_work_is_its_own() -> None:
    async def run() -> None:
        loop, alarm = asyncio.get_running_loop(), Alarm()
        await alarm.bound(_at_once(), loop.time() + 60)
        with pytest.raises(TimeoutError):
            await alarm.bound(_never(), loop.time() + 0.01)
        assert alarm.rang

        async def fails() -> None:
            raise TimeoutError("the work's own")

        with pytest.raises(TimeoutError, match="own"):
            await alarm.bound(fails(), loop.time() + 60)
        assert not alarm.rang
        alarm.stop()

    clock.run(asyncio.wait_for(run(), 10))


def test_being_cancelled_is_no_time_out() -> None:
    async def run() -> None:
        alarm = Alarm()
        task = asyncio.ensure_future(alarm.bound(_never(), asyncio.get_running_loop().time() + 60))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not alarm.rang
        alarm.stop()

    clock.run(asyncio.wait_for(run(), 10))
