"""The ledger as the client of models uses it: a lock that another program holds never stops the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from agent.errors import StateError
from agent.ledger.book import new_id
from agent.ledger.store import Locked

if TYPE_CHECKING:
    from agent.ledger.book import Ledger
    from agent.llm.accounting import Bound, CallContext, Settlement
    from agent.llm.request import ModelRef

AFTER_S = 60.0
"""How long to wait with what has happened already, seconds: an answer that was paid for is not to be lost for a lock."""
LATER_S = 5.0
"""So often what could not be written by then is tried again, seconds."""


class PatientLedger:
    """An `agent.llm.accounting.Accounts` over a ledger. Where nobody holds a lock, nothing is waited for and no task is made."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._late: set[asyncio.Task[None]] = set()

    async def reserve(self, model: ModelRef, context: CallContext, bound: Bound, *, sends: bool = False) -> str:
        """As `Ledger.reserve`. Whoever is cancelled meanwhile, or gives up, leaves no reservation behind."""
        call_id, tries = new_id(), 0

        def reserve() -> str:
            nonlocal tries
            tries += 1
            return self._ledger.reserve(model, context, bound, call_id, sends=sends, again=tries > 1)

        try:
            return await self._ledger.patiently(reserve)
        except (asyncio.CancelledError, Locked):  # a try may have done it, and its end was not learned
            self._later(partial(self._ledger.release, call_id, marked=sends))
            raise

    async def adjust(self, call_id: str, context: CallContext, bound: Bound) -> None:
        """As `Ledger.adjust`."""
        await self._ledger.patiently(partial(self._ledger.adjust, call_id, context, bound))

    async def sent(self, call_id: str, *, generation_id: str | None = None) -> None:
        """As `Ledger.sent`. An answer that comes does not wait until the provider's id for it is written."""
        work = partial(self._ledger.sent, call_id, generation_id=generation_id)
        if generation_id is None:
            await self._ledger.patiently(work)
            return
        try:
            await self._ledger.patiently(work, 0.0)
        except Locked:
            self._later(work)

    async def told(self, calls: Sequence[tuple[ModelRef, CallContext, Settlement]]) -> list[str]:
        """As `Ledger.told`."""
        ids = [new_id() for _call in calls]
        return await self._ledger.patiently(partial(self._ledger.told, calls, ids))

    async def settle(self, call_id: str, settlement: Settlement) -> None:
        """As `Ledger.settle`. Where it takes too long, or whoever waits is cancelled, it goes on by itself; until then the bound counts."""
        await self._even_if_cancelled(partial(self._ledger.settle, call_id, settlement))

    async def release(self, call_id: str, *, marked: bool = False) -> None:
        """As `Ledger.release`. It goes on by itself as `settle` does."""
        await self._even_if_cancelled(partial(self._ledger.release, call_id, marked=marked))

    async def _even_if_cancelled(self, work: Callable[[], None]) -> None:
        try:
            await self._ledger.patiently(work, AFTER_S)
        except asyncio.CancelledError:
            self._later(work)
            raise
        except Locked:
            self._later(work)

    def _later(self, work: Callable[[], None]) -> None:
        task = asyncio.get_running_loop().create_task(self._on_its_own(work))
        self._late.add(task)
        task.add_done_callback(self._late.discard)

    async def _on_its_own(self, work: Callable[[], None]) -> None:
        """Until it is done or can't be. Where the program ends before that the reservation stays, and with it its bound; the next start closes it."""
        with suppress(StateError):
            while True:
                try:
                    return await self._ledger.patiently(work, AFTER_S)
                except Locked:
                    await asyncio.sleep(LATER_S)
