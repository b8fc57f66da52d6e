"""A SearXNG server of the user's choice (docs.searxng.org, `GET /search?format=json`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.config.domains import Domains
from agent.web.engines.base import MOST_RESULTS, Found, ask, hits_of

if TYPE_CHECKING:
    import httpx

REMEDY = "allow the format json in that server's settings.yml (search.formats), or take another server"


class Searxng:
    """SearXNG at its address, on this machine or elsewhere."""

    def __init__(self, address: str, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._address, self._transport = address, transport

    async def search(self, query: str, domains: Domains) -> Found:
        """The results. Raises SearchFailed."""
        said = await ask(
            "searxng",
            "GET",
            f"{self._address}/search",
            params={"q": query, "format": "json"},
            remedy=REMEDY,
            transport=self._transport,
        )
        hits = hits_of("searxng", said.get("results") if isinstance(said, dict) else None, date="publishedDate")
        # It has many more, in its own order; some of them are to be left out afterwards.
        return Found(hits[: 3 * MOST_RESULTS])
