"""What the web tools keep to: the ledger, who is told of what, the provider's own search, copies of a question, what is not installed."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent.admin import doctor
from agent.config.domains import Domains
from agent.ledger.book import Ledger
from agent.ledger.patient import PatientLedger
from agent.llm.accounting import CallContext, Cap
from agent.llm.errors import RateLimited
from agent.llm.messages import assistant
from agent.llm.models.endpoint import Endpoint
from agent.llm.request import Request
from agent.llm.stream import Citation, Reply
from agent.session.session import Session
from agent.web.contamination import copies
from agent.web.engines.base import Found, Hit
from agent.web.engines.booked import Booked
from agent.web.engines.ddgs import Ddgs
from agent.web.engines.native import Native
from agent.web.errors import SearchFailed
from agent.web.fetch_tool import WebFetch
from agent.web.plugin import receivers
from agent.web.search_tool import WebSearch
from agent.web.settings import WebSettings
from agent.web.web import Asker, Web
from moa import preflight
from moa.preset.preset import Preset, Reference
from tests.support.scripted import ScriptedClient

ANYWHERE = Domains()
QUESTION = "Which of these two rivers is longer, and by how many miles, as of the last survey?"


class Engine:
    """An engine that answers or fails as it is told."""

    def __init__(self, comes: Found | Exception) -> None:
        self.comes = comes

    async def search(self, query: str, domains: Domains) -> Found:
        if isinstance(self.comes, Exception):
            raise self.comes
        return self.comes


HITS = (Hit("https://a.example/", "A", "x"),)


@pytest.mark.parametrize(
    ("name", "comes", "row"),
    [
        ("exa", Found(HITS, 0.007), ("done", 7_000_000, "reply")),
        ("tavily", Found(HITS), ("done", None, "unknown")),
        ("brave", SearchFailed("brave", "auth", "no"), ("failed", 0, "local")),
        ("brave", SearchFailed("brave", "bad_answer", "html"), ("failed", None, "unknown")),
    ],
)
def test_a_paid_search_is_in_the_ledger(tmp_path: Path, name: str, comes: Any, row: tuple[Any, ...]) -> None:
    ledger = Ledger(tmp_path / "ledger.db")
    engine = Booked(
        Engine(comes), name, PatientLedger(ledger), CallContext("reference", session="s", turn="t", slot="2")
    )
    try:
        asyncio.run(engine.search("q", ANYWHERE))
    except SearchFailed as error:
        assert error is comes
    (call,) = ledger.calls(session="s")
    assert (call.outcome, call.cost_nano, call.cost_source) == row
    assert (call.purpose, call.slot, call.endpoint, call.model_requested) == ("search", "2", name, "search")


def test_a_cap_that_leaves_no_room_stops_a_search_before_it_is_made(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.db")
    context = CallContext("main", session="s", turn="t", caps=(Cap("turn", "[budget] turn_usd", nano=1_000_000),))
    with pytest.raises(SearchFailed, match="turn_usd") as failed:
        asyncio.run(Booked(Engine(Found(HITS)), "exa", PatientLedger(ledger), context).search("q", ANYWHERE))
    assert failed.value.kind == "budget" and not ledger.calls(session="s")


class Provider(ScriptedClient):
    """A client whose one endpoint searches by itself, or does not."""

    dialect = "responses"

    def endpoint(self, name: str) -> Endpoint:
        return Endpoint(name, "http://127.0.0.1:9/v1", dialect=self.dialect)


def native(
    line: Any, *, model: str | None = "it:m", dialect: str = "responses"
) -> tuple[Provider, Callable[[], Found]]:
    client = Provider({"*": line})
    client.dialect = dialect
    engine = Native(client, model, CallContext("main", turn="t"))
    return client, lambda: asyncio.run(engine.search("tide tables", Domains(excluded=("bad.example",))))


def test_the_providers_own_search_is_a_call_of_its_own() -> None:
    found = Citation("https://a.example/", "A", "high at six")
    client, search = native(
        Reply(message=assistant("At six."), finish="stop", citations=(found,), cost_nano=12_000_000)
    )
    came = search()
    assert came.hits == (Hit("https://a.example/", "A", "high at six"),) and (came.answer, came.usd) == (
        "At six.",
        0.012,
    )
    request: Request = client.requests[0]
    assert request.search is not None and request.search.excluded == ("bad.example",)
    assert client.contexts[0].purpose == "search" and "tide tables" in request.messages[0].text


@pytest.mark.parametrize(
    ("line", "given", "kind"),
    [
        (Reply(message=assistant("At six."), finish="stop"), {}, "empty"),
        (RateLimited("slow down"), {}, "rate_limited"),
        ("x", {"dialect": "chat"}, "unsupported"),
        ("x", {"model": None}, "unsupported"),
    ],
)
def test_what_the_providers_own_search_can_not_do_is_named(line: Any, given: dict[str, Any], kind: str) -> None:
    _client, search = native(line, **given)
    with pytest.raises(SearchFailed) as failed:
        search()
    assert failed.value.kind == kind


@pytest.mark.parametrize(
    ("question", "text", "yes"),
    [
        (QUESTION, f"Q 17. {QUESTION.upper()} Answer: 12", True),
        (QUESTION, "which of these two rivers is longer and by how many miles as OF the … dataset", True),
        (QUESTION, "Of these two rivers one is longer by many miles.", False),
        ("Who was it?", "Who was it?", False),
        (QUESTION, "", False),
    ],
)
def test_a_copy_of_the_question_is_told_from_a_page_about_it(question: str, text: str, yes: bool) -> None:
    assert copies(question, text) is yes


def test_what_is_not_installed_is_named_with_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ddgs", None)
    with pytest.raises(SearchFailed, match=r"pip install 'moa-agent\[web\]'") as failed:
        asyncio.run(Ddgs().search("q", ANYWHERE))
    assert failed.value.kind == "not_installed"


@pytest.mark.parametrize(
    ("settings", "who"),
    [
        (WebSettings(), ("public search engines (ddgs)",)),
        (WebSettings(search="searxng", searxng_url="https://s.example/x"), ("searxng (s.example)",)),
        (WebSettings(keys={"exa": "k"}), ("exa (api.exa.ai)", "public search engines (ddgs)")),
        (WebSettings(search="native"), ("native (127.0.0.1)",)),
    ],
)
def test_who_reads_what_is_searched_for_is_named(settings: WebSettings, who: tuple[str, ...]) -> None:
    client = ScriptedClient({"*": "x"})
    assert receivers(settings, client, "it:m") == who
    seat = Reference("it:m", tools=("web_search",))
    preset = Preset("p", "p.toml", (seat,), tools_at="first")
    assert preflight.receivers(preset, client, None, who)[-1] == f"what members search for: {' or '.join(who)}"
    silent = Preset("p", "p.toml", (seat,))  # its members never get their tools
    assert len(preflight.receivers(silent, client, None, who)) == 1


@pytest.mark.parametrize(
    ("section", "env", "said", "fine"),
    [
        ("", {}, "asked alone", True),
        ("", {"EXA_API_KEY": "k"}, "in this order", True),
        ('[web]\nsearch = "brave"\n', {}, "no key: export BRAVE_API_KEY", False),
    ],
)
def test_doctor_says_which_engines_are_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, section: str, env: dict[str, str], said: str, fine: bool
) -> None:
    (tmp_path / "config.toml").write_text(section)
    for kind in ("CONFIG", "STATE", "CACHE"):
        monkeypatch.setenv(f"MOA_{kind}_DIR", str(tmp_path))
    report = asyncio.run(doctor.doctor(env=env))
    (row,) = (row for row in report.data["checks"] if row["what"] == "web")
    assert said in row["state"] and row["ok"] is fine


@pytest.mark.parametrize(
    ("said", "url", "slot", "yes"),
    [
        ("Read https://a.example/x please", "https://a.example/x", None, True),
        ("Read https://a.example/x please", "https://a.example/x?leak=1", None, False),
        ("Read https://a.example/x please", "https://a.example/x", "2", True),
        ("Read it", "https://a.example/x", None, False),
    ],
)
def test_a_page_that_the_user_wrote_needs_no_question(
    tmp_path: Path, said: str, url: str, slot: str | None, yes: bool
) -> None:
    session = Session.create(tmp_path)
    web = Web(WebSettings(), session, cache=tmp_path, native=lambda _context: pytest.fail("native"))
    web.begin_turn(said)
    tool = WebFetch(web, Asker(slot) if slot else Asker())
    assert tool.named_by_user({"url": url}) is yes
    assert WebSearch(web, Asker()).named_by_user({"query": said}) is False
