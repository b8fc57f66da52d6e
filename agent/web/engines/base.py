"""What an engine is, what it finds, and how its answers are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from agent.config.domains import Domains
from agent.llm.net.http import load_httpx, proxy_of
from agent.text import foreign_json
from agent.web.errors import SearchFailed

if TYPE_CHECKING:
    import httpx

MOST_RESULTS = 8
SEARCH_S = 20.0
MOST_BYTES = 4 << 20
EXCERPT = 1_200
"""Characters of a result's own words that are kept."""


@dataclass(frozen=True, slots=True)
class Hit:
    """One result. `text` is what the engine shows of the page."""

    url: str
    title: str = ""
    text: str = ""
    date: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """What an engine brought. `usd` is what it says this search cost; None where it says nothing. `answer` is its own summary."""

    hits: tuple[Hit, ...]
    usd: float | None = None
    answer: str = ""


class SearchEngine(Protocol):
    """One engine, ready to be asked."""

    async def search(self, query: str, domains: Domains) -> Found:
        """The results. Domains are passed on where the engine knows them; who calls checks what comes back all the same. Raises
        SearchFailed."""
        ...


async def ask(
    engine: str,
    method: str,
    url: str,
    *,
    remedy: str,
    headers: Mapping[str, str] | None = None,
    params: Mapping[str, str] | None = None,
    body: Mapping[str, Any] | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
) -> Any:
    """One request to an engine's interface, and the JSON of its answer. Raises SearchFailed by name."""
    import asyncio

    httpx = load_httpx()
    proxy = None if transport is not None else proxy_of(url)
    try:
        async with (
            asyncio.timeout(SEARCH_S),
            httpx.AsyncClient(transport=transport, proxy=proxy, trust_env=False, timeout=SEARCH_S) as client,
            client.stream(
                method, url, headers={"accept": "application/json", **(headers or {})}, params=params, json=body
            ) as response,
        ):
            data = bytearray()
            async for chunk in response.aiter_bytes():
                data += chunk
                if len(data) > MOST_BYTES:
                    raise SearchFailed(engine, "bad_answer", f"it answered with more than {MOST_BYTES >> 20} MB")
            status, kind = response.status_code, response.headers.get("content-type", "")
    except (TimeoutError, httpx.TimeoutException):
        raise SearchFailed(engine, "timed_out", f"no answer within {SEARCH_S:g} s") from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise SearchFailed(engine, "unreachable", f"no answer: {error or type(error).__name__}") from error
    return _value(engine, status, kind, bytes(data), remedy)


def _value(engine: str, status: int, kind: str, data: bytes, remedy: str) -> Any:
    if status in (401, 403):
        raise SearchFailed(engine, "auth", f"it does not take the key ({status})", remedy=remedy)
    if status == 402:
        raise SearchFailed(engine, "auth", "the account has no credit left (402)", remedy=remedy)
    if status == 429 or (engine == "tavily" and status in (432, 433)):  # its own codes for a plan that is used up
        raise SearchFailed(
            engine, "rate_limited", f"too many searches for now ({status})", remedy="wait, or choose another engine"
        )
    if status >= 400:
        raise SearchFailed(engine, "bad_answer", f"it answered {status}: {_line(data)}")
    try:
        return foreign_json.loads(data)
    except ValueError:
        what = "an HTML page" if "html" in kind or data.lstrip()[:1] == b"<" else "something"
        raise SearchFailed(engine, "bad_answer", f"it answered with {what} instead of JSON", remedy=remedy) from None


def hits_of(
    engine: str,
    rows: Any,
    *,
    url: str = "url",
    title: str = "title",
    text: Sequence[str] = ("content",),
    date: str = "",
) -> tuple[Hit, ...]:
    """Results from rows of JSON, by the names of their fields. Raises SearchFailed where there are none."""
    if not isinstance(rows, list):
        raise SearchFailed(engine, "bad_answer", "there is no list of results in its answer")
    hits = []
    for row in rows:
        if (
            isinstance(row, dict)
            and isinstance(place := row.get(url), str)
            and place.startswith(("http://", "https://"))
        ):
            said = next((words for name in text if (words := _words(row.get(name)))), "")
            hits.append(
                Hit(place, _words(row.get(title))[:300], said[:EXCERPT], _words(row.get(date))[:40] if date else "")
            )
    if not hits:
        raise SearchFailed(engine, "empty", "nothing was found", remedy="other words may find more")
    return tuple(hits)


def _words(value: Any) -> str:
    if isinstance(value, list):
        return " … ".join(each for each in value if isinstance(each, str)).strip()
    return " ".join(value.split()) if isinstance(value, str) else ""


def _line(data: bytes) -> str:
    return " ".join(data[:400].decode("utf-8", "replace").split())[:200]
