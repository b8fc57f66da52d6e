"""One search: the engine that the user chose, or with `auto` one after the other; the domain policy on what comes back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from agent.config.domains import Domains, canonical, host_of
from agent.web.engines.base import MOST_RESULTS, Found, Hit, SearchEngine
from agent.web.errors import SearchFailed
from agent.web.settings import Engine, WebSettings

if TYPE_CHECKING:
    import httpx

Make = Callable[[Engine], SearchEngine]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a search came to. `failed` are the engines that were asked before, `left_out` the results that the policy took out."""

    engine: str
    hits: tuple[Hit, ...]
    answer: str = ""
    usd: float | None = None
    failed: tuple[SearchFailed, ...] = ()
    left_out: int = field(default=0)


async def search(query: str, engines: Sequence[Engine], make: Make, domains: Domains) -> Outcome:
    """Ask the engines in order, until one has something that may be shown. Raises SearchFailed, which names each that was asked."""
    failed: list[SearchFailed] = []
    for name in engines:
        try:
            found = await make(name).search(query, domains)
            hits, left_out = _kept(name, found, domains)
        except SearchFailed as error:
            failed.append(error)
            continue
        return Outcome(name, hits, found.answer, found.usd, tuple(failed), left_out)
    if len(failed) == 1:
        raise failed[0]
    whole = "; ".join(str(error) for error in failed) or "no engine is set up"
    raise SearchFailed("web_search", failed[-1].kind if failed else "no_key", whole)


def _kept(engine: str, found: Found, domains: Domains) -> tuple[tuple[Hit, ...], int]:
    """Each page once, without what the policy refuses: engines ignore such lists now and then."""
    kept: dict[str, Hit] = {}
    left_out = 0
    for hit in found.hits:
        if domains.refusal(host_of(hit.url)):
            left_out += 1
            continue
        key = canonical(hit.url)
        if key in kept and len(kept[key].text) < len(hit.text):
            kept[key] = replace(kept[key], text=hit.text)
        kept.setdefault(key, hit)
    if not kept:
        what = f"every result ({left_out}) is on an excluded site" if left_out else "nothing was found"
        raise SearchFailed(engine, "empty", what, remedy="other words may find more")
    return tuple(kept.values())[:MOST_RESULTS], left_out


def maker(
    settings: WebSettings,
    native: Callable[[], SearchEngine],
    transport: httpx.AsyncBaseTransport | None = None,
    book: Callable[[str, SearchEngine], SearchEngine] = lambda _name, engine: engine,
) -> Make:
    """How each engine is made, from the settings; `native` makes the provider's own, `book` puts one that takes money into the ledger.

    Raises SearchFailed where its key is missing.
    """

    def make(name: Engine) -> SearchEngine:
        if name == "native":
            return native()
        if name == "searxng":
            from agent.web.engines.searxng import Searxng

            return Searxng(settings.searxng_url, transport)
        if name == "ddgs":
            from agent.web.engines.ddgs import Ddgs

            return Ddgs()
        from agent.web.settings import KEYS

        key, address = settings.keys.get(name), settings.addresses[name]
        if not key:
            raise SearchFailed(name, "no_key", "no key is set", remedy=f"export {KEYS[name][0]}=…")
        if name == "exa":
            from agent.web.engines.exa import Exa

            return book(name, Exa(address, key, transport))
        if name == "tavily":
            from agent.web.engines.tavily import Tavily

            return book(name, Tavily(address, key, transport))
        from agent.web.engines.brave import Brave

        return book(name, Brave(address, key, transport))

    return make
