"""Tavily (docs.tavily.com, `POST /search`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agent.config.domains import Domains
from agent.web.engines.base import MOST_RESULTS, Found, ask, hits_of

if TYPE_CHECKING:
    import httpx


class Tavily:
    """Tavily with the user's key."""

    def __init__(self, address: str, key: str, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._address, self._key, self._transport = address, key, transport

    async def search(self, query: str, domains: Domains) -> Found:
        """The results. Raises SearchFailed."""
        body: dict[str, Any] = {"query": query, "max_results": MOST_RESULTS, "search_depth": "basic"}
        if domains.allowed:
            body["include_domains"] = list(domains.allowed)
        if domains.excluded:
            body["exclude_domains"] = list(domains.excluded)
        said = await ask(
            "tavily",
            "POST",
            f"{self._address}/search",
            headers={"authorization": f"Bearer {self._key}"},
            body=body,
            remedy="check TAVILY_API_KEY",
            transport=self._transport,
        )
        return Found(hits_of("tavily", said.get("results") if isinstance(said, dict) else None, date="published_date"))
