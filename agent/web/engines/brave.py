"""Brave Search (api-dashboard.search.brave.com, `GET /res/v1/web/search`)."""

from __future__ import annotations

import re
from dataclasses import replace
from html import unescape
from typing import TYPE_CHECKING

from agent.config.domains import Domains
from agent.web.engines.base import MOST_RESULTS, Found, ask, hits_of

if TYPE_CHECKING:
    import httpx

LONGEST = 400
"""Characters of a query, more of which are refused."""


class Brave:
    """Brave with the user's key. It has no lists of domains, so that the words of its query language stand for them."""

    def __init__(self, address: str, key: str, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._address, self._key, self._transport = address, key, transport

    async def search(self, query: str, domains: Domains) -> Found:
        """The results. Raises SearchFailed."""
        words = " ".join((query, *(f"-site:{name.removeprefix('*.')}" for name in domains.excluded)))
        said = await ask(
            "brave",
            "GET",
            f"{self._address}/res/v1/web/search",
            headers={"x-subscription-token": self._key},
            params={
                "q": (words if len(words) <= LONGEST else query)[:LONGEST],
                "count": str(MOST_RESULTS),
                "text_decorations": "false",
            },
            remedy="check BRAVE_API_KEY",
            transport=self._transport,
        )
        web = said.get("web") if isinstance(said, dict) else None
        # Where nothing is found it leaves the whole section out.
        rows = web.get("results") if isinstance(web, dict) else [] if isinstance(said, dict) else None
        hits = hits_of("brave", rows, text=("description",), date="page_age")
        return Found(tuple(replace(hit, title=_plain(hit.title), text=_plain(hit.text)) for hit in hits))


def _plain(text: str) -> str:
    return unescape(re.sub(r"</?strong>", "", text))
