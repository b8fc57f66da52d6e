"""A paid search in the ledger: its upper bound before, what it cost after, as with every call that costs something."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from agent.llm.accounting import Bound, Settlement
from agent.llm.errors import BudgetReached
from agent.llm.money import nano_from_usd
from agent.llm.request import ModelRef
from agent.web.errors import SearchFailed

if TYPE_CHECKING:
    from agent.config.domains import Domains
    from agent.llm.accounting import Accounts, CallContext
    from agent.web.engines.base import Found, SearchEngine

MOST_USD: Mapping[str, float] = {"exa": 0.03, "tavily": 0.016, "brave": 0.01}
"""The most that one search with our settings takes, by the engines' price lists of autumn 2026 with room above."""
UNPAID = frozenset({"no_key", "auth", "rate_limited", "unsupported", "not_installed"})
"""After these nothing was searched, and nothing is charged."""


class Booked:
    """An engine that takes money. Only Exa says what it took; of the others the cost stays unknown, and the bound counts against caps."""

    def __init__(self, engine: SearchEngine, name: str, accounts: Accounts, context: CallContext) -> None:
        self._engine, self._name = engine, name
        self._accounts, self._context = accounts, replace(context, purpose="search")

    async def search(self, query: str, domains: Domains) -> Found:
        """As the engine's own. Raises SearchFailed, also where a cap leaves no room."""
        accounts, started = self._accounts, time.monotonic()
        bound = Bound(0, 0, nano_from_usd(MOST_USD[self._name]))
        try:
            call = await accounts.reserve(ModelRef(self._name, "search"), self._context, bound, sends=True)
        except BudgetReached as error:
            raise SearchFailed(self._name, "budget", error.message, remedy=error.remedy or "") from None

        def ended() -> float:
            return time.monotonic() - started

        try:
            found = await self._engine.search(query, domains)
        except SearchFailed as error:
            cost = 0 if error.kind in UNPAID else None
            ending = Settlement(
                "failed",
                None,
                cost,
                "local" if cost == 0 else "unknown",
                duration_s=ended(),
                error_kind=error.kind,
                error=str(error),
            )
            await accounts.settle(call, ending)
            raise
        except asyncio.CancelledError:
            await accounts.settle(call, Settlement("cancelled", duration_s=ended()))
            raise
        except BaseException:
            await accounts.settle(call, Settlement("failed", duration_s=ended(), error_kind="internal"))
            raise
        nano = None if found.usd is None else nano_from_usd(found.usd)
        source = "unknown" if nano is None else "reply"
        await accounts.settle(call, Settlement("done", None, nano, source, duration_s=ended()))  # type: ignore[arg-type]
        return found
