"""Exa (docs.exa.ai, `POST /search`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agent.config.domains import Domains
from agent.web.engines.base import MOST_RESULTS, Found, ask, hits_of

if TYPE_CHECKING:
    import httpx


class Exa:
    """Exa with the user's key; highlights instead of whole pages."""

    def __init__(self, address: str, key: str, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._address, self._key, self._transport = address, key, transport

    async def search(self, query: str, domains: Domains) -> Found:
        """The results. Raises SearchFailed."""
        body: dict[str, Any] = {
            "query": query,
            "numResults": MOST_RESULTS,
            "contents": {"highlights": {"maxCharacters": 1_000}},
        }
        # Of the two lists it takes one; what comes back is held against both.
        if domains.allowed:
            body["includeDomains"] = list(domains.allowed)
        elif domains.excluded:
            body["excludeDomains"] = list(domains.excluded)
        said = await ask(
            "exa",
            "POST",
            f"{self._address}/search",
            headers={"x-api-key": self._key},
            body=body,
            remedy="check EXA_API_KEY",
            transport=self._transport,
        )
        said = said if isinstance(said, dict) else {}
        hits = hits_of("exa", said.get("results"), text=("highlights", "text", "summary"), date="publishedDate")
        cost = said.get("costDollars")
        usd = cost.get("total") if isinstance(cost, dict) else None
        return Found(hits, float(usd) if isinstance(usd, int | float) else None)
