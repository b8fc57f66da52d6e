"""Search without a key, by the package ddgs: it reads the result pages of DuckDuckGo and others, which may refuse it at any time."""

from __future__ import annotations

import asyncio
from typing import Any

from agent.config.domains import Domains
from agent.extras import install
from agent.web.engines.base import MOST_RESULTS, SEARCH_S, Found, hits_of
from agent.web.errors import SearchFailed

EXTRA = f"{install('web')}, or set a key (EXA_API_KEY, TAVILY_API_KEY, BRAVE_API_KEY), or searxng_url under [web]"
PAGE_S = 8
"""Seconds for each of the result pages."""


class Ddgs:
    """The package's own choice of engines, or those named in `backend`. It waits in threads of its own, so it runs in one."""

    def __init__(self, backend: str = "auto") -> None:
        self._backend = backend

    async def search(self, query: str, domains: Domains) -> Found:
        """The results. Raises SearchFailed."""
        try:
            async with asyncio.timeout(SEARCH_S):
                rows = await asyncio.to_thread(_search, query, self._backend)
        except TimeoutError:
            raise SearchFailed("ddgs", "timed_out", f"no answer within {SEARCH_S:g} s") from None
        return Found(hits_of("ddgs", rows, url="href", text=("body",)))


def _search(query: str, backend: str) -> list[dict[str, Any]]:
    try:
        from ddgs import DDGS
        from ddgs.exceptions import DDGSException, RatelimitException, TimeoutException
    except ImportError as error:
        raise SearchFailed("ddgs", "not_installed", "the package is not installed", remedy=EXTRA) from error
    from agent.llm.net.http import proxy_of

    try:
        # pages of other engines come along, so that more than a page's worth is asked for when some are left out
        return list(
            DDGS(proxy=proxy_of("https://duckduckgo.com"), timeout=PAGE_S).text(
                query, max_results=2 * MOST_RESULTS, backend=backend
            )
        )
    except TimeoutException as error:
        raise SearchFailed("ddgs", "timed_out", "no answer in time") from error
    except RatelimitException as error:
        raise _limited(str(error)) from error
    except DDGSException as error:
        said = str(error)
        if "No results" in said:
            # It says the same where the pages were refused: what is no result page is passed over in there.
            raise SearchFailed(
                "ddgs",
                "empty",
                "nothing was found, or the engines turned this machine away",
                remedy="try other words, or set a key",
            ) from error
        if "429" in said or "202" in said or "atelimit" in said:
            raise _limited(said) from error
        raise SearchFailed("ddgs", "unreachable", said[:200]) from error


def _limited(said: str) -> SearchFailed:
    return SearchFailed(
        "ddgs", "rate_limited", f"too many searches for now ({said[:100]})", remedy="wait, or set a key"
    )
