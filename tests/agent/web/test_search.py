"""Search engines against servers that answer in their shapes, and each way that an engine fails."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from agent.config.domains import Domains
from agent.errors import UsageError
from agent.web.errors import SearchFailed
from agent.web.search import Outcome, maker, search
from agent.web.settings import WebSettings, read
from tests.support.sites import Asked, Handler, Sites, goes_to, page, serving

EXA = {
    "requestId": "r",
    "results": [
        {
            "title": "Tide tables",
            "url": "https://tides.example/a",
            "publishedDate": "2026-01-02T00:00:00.000Z",
            "highlights": ["high at six", "low at noon"],
        },
        {"title": "A copy", "url": "https://tides.example/a/?utm_source=x", "highlights": []},
        {"title": "Bad", "url": "https://sub.bad.example/b", "highlights": ["no"]},
    ],
    "costDollars": {"total": 0.007},
}
TAVILY = {
    "query": "q",
    "results": [{"title": "Tide tables", "url": "https://tides.example/a", "content": "high at six", "score": 0.9}],
    "response_time": 1,
}
BRAVE = {
    "type": "search",
    "web": {
        "results": [
            {
                "title": "<strong>Tide</strong> tables",
                "url": "https://tides.example/a",
                "description": "high &amp; low at six",
            }
        ]
    },
}
SEARXNG = {
    "query": "q",
    "results": [{"title": "Tide tables", "url": "https://tides.example/a", "content": "high at six", "engine": "bing"}],
    "unresponsive_engines": [],
}
ANSWERS = {"/search": EXA, "/t/search": TAVILY, "/b/res/v1/web/search": BRAVE, "/s/search": SEARXNG}
PATHS = {"exa": "/search", "tavily": "/t/search", "brave": "/b/res/v1/web/search", "searxng": "/s/search"}
ENGINES = tuple(PATHS)
EVERYWHERE = Domains()


def as_json(value: Any, status: int = 200) -> Handler:
    return page(json.dumps(value), "application/json", status)


def ask(pages: dict[str, Handler], *engines: str, domains: Domains = EVERYWHERE) -> tuple[Outcome, Sites]:
    async def main() -> tuple[Outcome, Sites]:
        async with serving(pages) as sites:
            here = sites.url("")
            settings = WebSettings(
                searxng_url=f"{here}/s",
                addresses={"exa": here, "tavily": f"{here}/t", "brave": f"{here}/b"},
                keys={"exa": "exa-key", "tavily": "tavily-key", "brave": "brave-key"},
            )
            make = maker(settings, lambda: pytest.fail("native"))
            return await search("tide tables", engines, make, domains), sites  # type: ignore[arg-type]

    return asyncio.run(main())


@pytest.mark.parametrize(
    ("engine", "header", "key"),
    [
        ("exa", "x-api-key", "exa-key"),
        ("tavily", "authorization", "Bearer tavily-key"),
        ("brave", "x-subscription-token", "brave-key"),
        ("searxng", "accept", "application/json"),
    ],
)
def test_an_engine_is_asked_in_its_form_and_read_in_its_shape(engine: str, header: str, key: str) -> None:
    found, sites = ask(
        {path: as_json(answer) for path, answer in ANSWERS.items()}, engine, domains=Domains(excluded=("bad.example",))
    )
    (asked,) = sites.asked
    assert (found.engine, found.hits[0].url, found.hits[0].title) == (engine, "https://tides.example/a", "Tide tables")
    assert "at six" in found.hits[0].text
    assert (len(found.hits), found.left_out) == (1, 1 if engine == "exa" else 0)
    assert asked.headers[header] == key
    assert "tide" in asked.path + asked.headers.get("body", "")
    assert ("bad.example" in asked.path + asked.headers.get("body", "")) == (engine != "searxng")


async def hangs_up(_asked: Asked, writer: asyncio.StreamWriter) -> None:
    """A connection that ends without a word."""


async def silent(_asked: Asked, writer: asyncio.StreamWriter) -> None:
    """One that says nothing, ever."""
    await asyncio.Event().wait()


FAILURES = [
    ("rate_limited", page("slow down", "text/plain", 429), "too many searches"),
    ("auth", page("who are you", "text/plain", 401), "does not take the key"),
    ("empty", None, "nothing was found"),
    ("bad_answer", page("<html>hello</html>"), "an HTML page instead of JSON"),
    ("bad_answer", page("oops", "text/plain", 500), "it answered 500: oops"),
    ("auth", page("pay first", "text/plain", 402), "no credit left"),
    ("bad_answer", as_json([]), "no list of results"),
    ("bad_answer", as_json(None), "no list of results"),
    ("bad_answer", as_json({"results": "none", "web": {"results": "none"}}), "no list of results"),
    ("bad_answer", page("[" * 100_000, "application/json"), "instead of JSON"),
    ("bad_answer", page("x" * (5 << 20), "application/json"), "more than 4 MB"),
    ("bad_answer", goes_to("/elsewhere"), "instead of JSON"),
    ("unreachable", hangs_up, "no answer"),
    ("timed_out", silent, "no answer within 0.2 s"),
]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("kind", "answer", "said"), FAILURES)
@pytest.mark.sample(20)
def test_each_failure_of_an_engine_is_named(
    engine: str, kind: str, answer: Handler | None, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind == "timed_out":
        monkeypatch.setattr("agent.web.engines.base.SEARCH_S", 0.2)
    nothing = {"web": {"results": []}} if engine == "brave" else {"results": []}
    with pytest.raises(SearchFailed) as caught:
        ask({PATHS[engine]: answer or as_json(nothing)}, engine)
    assert (caught.value.engine, caught.value.kind) == (engine, kind)
    assert said in str(caught.value)


def test_the_next_engine_is_tried_only_where_there_is_one_and_each_is_named() -> None:
    pages = {PATHS["exa"]: page("", status=429), PATHS["tavily"]: page("<html>"), PATHS["brave"]: as_json(BRAVE)}
    found, _sites = ask(pages, "exa", "tavily", "brave")
    assert (found.engine, [each.engine for each in found.failed]) == ("brave", ["exa", "tavily"])
    with pytest.raises(SearchFailed, match=r"exa: .*429.*; tavily: .*HTML"):
        ask(pages, "exa", "tavily")


@pytest.mark.parametrize(
    ("text", "env", "engines"),
    [
        ({}, {}, ("ddgs",)),
        ({}, {"BRAVE_SEARCH_API_KEY": "b", "EXA_API_KEY": "e"}, ("exa", "brave", "ddgs")),
        ({"searxng_url": "http://127.0.0.1:8888/"}, {}, ("searxng", "ddgs")),
        ({"search": "exa"}, {"BRAVE_API_KEY": "b"}, ("exa",)),
        ({"search": "native"}, {}, ("native",)),
    ],
)
def test_which_engines_are_asked(text: dict[str, Any], env: dict[str, str], engines: tuple[str, ...]) -> None:
    assert read(text, Path("config.toml"), env).engines() == engines


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ({"search": "google"}, "web.search is 'google'"),
        ({"search": "searxng"}, "no address is given"),
        ({"searxng_url": "localhost:8888"}, "web.searxng_url"),
        ({"excluded_domains": ["https://a.example/"]}, "which is an address"),
        ({"allow_private": ["http://localhost"]}, "web.allow_private"),
        ({"serach": "exa"}, "web.serach is not a known key"),
    ],
)
def test_a_wrong_setting_is_named(text: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said.replace(".", r"\.")):
        read(text, Path("config.toml"), {})


def test_a_key_that_is_missing_is_named() -> None:
    with pytest.raises(SearchFailed, match=r"no key is set \(export EXA_API_KEY"):
        asyncio.run(search("q", ["exa"], maker(WebSettings(), lambda: pytest.fail("native")), Domains()))


def test_the_engine_without_a_key_reads_a_result_page(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ddgs")
    from ddgs.engines.duckduckgo import Duckduckgo

    from agent.web.engines.ddgs import Ddgs

    results = '<div class="body"><h2>Tide tables</h2><a href="https://tides.example/a">high at six</a></div>'

    async def main(body: str, status: int) -> Any:
        async with serving({"/html/": page(body, status=status)}) as sites:
            monkeypatch.setattr(Duckduckgo, "search_url", sites.url("/html/"))
            return await Ddgs("duckduckgo").search("tide tables", Domains())

    (hit,) = asyncio.run(main(f"<html><body>{results}</body></html>", 200)).hits
    assert (hit.url, hit.title, hit.text) == ("https://tides.example/a", "Tide tables", "high at six")
    with pytest.raises(SearchFailed, match="nothing was found, or the engines turned"):
        asyncio.run(main("go away", 429))
    monkeypatch.setitem(sys.modules, "ddgs", None)
    with pytest.raises(SearchFailed, match=r"not installed \(pip install 'moa-agent\[web\]'"):
        asyncio.run(main("", 200))
