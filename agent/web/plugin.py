"""The web tools as a plugin: the tools of the main model and of members, and what was looked up under each answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent import events
from agent.plugin import Plugin, RecordLine
from agent.web.sources import KIND
from agent.web.web import Asker, Web

if TYPE_CHECKING:
    from agent.config.domains import Domains
    from agent.events import Emit
    from agent.llm.accounting import CallContext
    from agent.llm.client import ModelClient
    from agent.plugin import ModelCall, PluginHost, TurnState
    from agent.tools.base import Tool
    from agent.views import View
    from agent.web.engines.base import SearchEngine
    from agent.web.settings import WebSettings

NAMES = ("web_search", "web_fetch")


def make(host: PluginHost) -> WebTools:
    """The plugin. Raises UsageError for a wrong `[web]`."""
    return WebTools(host)


class WebTools(Plugin):
    """`web_search` and `web_fetch`, and the sources of each turn."""

    name = "web"
    records = (KIND,)
    carries_over = False

    def __init__(self, host: PluginHost) -> None:
        from agent.web.settings import read

        self._host = host
        self._model = host.main_model
        self._emit: Emit | None = None
        self._turn = host.account
        settings = read(host.settings, host.config_file, host.env)
        self.web = Web(settings, host.session, cache=_cache(host), native=self._native, book=self._booked)
        host.registry.lookups.append(lambda: receivers(settings, self._host.client, self._model))
        host.registry.member_tools.append(self._for_member)

    def tools(self) -> Sequence[Tool]:
        """Those of the main model."""
        return self._pair(Asker())

    def _for_member(self, context: CallContext, domains: Domains | None) -> Sequence[Tool]:
        from agent.config.domains import Domains

        return self._pair(Asker(context.slot or "member", domains or Domains(), context))

    def _pair(self, asker: Asker) -> Sequence[Tool]:
        from agent.web.fetch_tool import WebFetch
        from agent.web.search_tool import WebSearch

        return WebSearch(self.web, asker), WebFetch(self.web, asker)

    def _native(self, context: CallContext | None) -> SearchEngine:
        from agent.web.engines.native import Native

        return Native(self._host.client, self._model, context or self._turn)

    def _booked(self, name: str, engine: SearchEngine, context: CallContext | None) -> SearchEngine:
        from agent.ledger.patient import PatientLedger
        from agent.web.engines.booked import Booked

        return Booked(engine, name, PatientLedger(self._host.ledger), context or self._turn)

    # A turn

    async def before_turn(self, turn: TurnState, emit: Emit) -> None:
        """The turn's own list of sources."""
        self._emit = emit
        self.web.begin_turn(turn.prompt.text)

    def advises(self) -> bool:
        """It never does."""
        return False

    async def before_model(self, call: ModelCall, emit: Emit) -> None:
        """Note who acts: a search by the provider goes to that endpoint."""
        self._model, self._turn = str(call.model), call.context

    async def after_turn(self, turn: TurnState) -> None:
        """What was looked up goes into the record, and under the answer."""
        sources = self.web.sources
        if self._emit is None or not (sources.searches or sources.pages):
            return
        if turn.reply is not None:
            sources.cite(turn.reply.text)
        record = events.Record(
            source=self.name,
            kind=KIND,
            data=sources.plain(turn.turn),
            line=sources.line(),
            level=_level(sources.plain("")),
        )
        turn.session.add_record(record, turn=turn.turn, iteration=turn.iteration)
        self._emit(record)

    # What is shown of it

    def record_line(self, kind: str, data: Mapping[str, Any]) -> RecordLine | None:
        """It is kept with every record."""
        return None

    def view(self, kind: str, data: Mapping[str, Any]) -> View | None:
        """The sources, numbered, and the log of every search and page."""
        from agent.views import StackView, TableView
        from agent.web.sources import log, table

        columns, rows = table(dict(data))
        note = (
            "Named, never read: the answer names the page, but nobody has fetched it. Check it before you rely on it."
        )
        return StackView(
            views=(
                TableView(title="Sources", columns=tuple(columns), rows=tuple(rows), align="rllll", note=note),
                TableView(
                    title="Searches and pages",
                    columns=("what", "of", "engine", "result", "by"),
                    rows=tuple(log(dict(data))),
                ),
            )
        )


def receivers(settings: WebSettings, client: ModelClient, model: str | None) -> tuple[str, ...]:
    """Who gets to read what is searched for: the engines that are asked, each with its host."""
    from urllib.parse import urlsplit

    from agent.errors import UsageError
    from agent.llm.request import ModelRef

    found = []
    for name in settings.engines():
        if name == "ddgs":
            found.append("public search engines (ddgs)")
            continue
        host: str | None = None
        if name == "native":
            try:
                host = urlsplit(client.endpoint(ModelRef.parse(model or "").endpoint).base_url).hostname
            except (ValueError, UsageError):
                host = None
        else:
            host = urlsplit(settings.searxng_url if name == "searxng" else settings.addresses[name]).hostname
        found.append(f"{name} ({host})" if host else name)
    return tuple(found)


def _level(data: Mapping[str, Any]) -> events.RecordLevel:
    return "info" if all(source["verified"] for source in data["sources"]) else "degraded"


def _cache(host: PluginHost) -> Path:
    from agent.config.paths import Paths

    return Paths.from_env(host.env).cache / "pages"
