"""The provider's own search: a small call of the main model with its server tool, of which what it found is taken."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from agent.config.domains import Domains
from agent.errors import UsageError
from agent.llm.dialects.registry import dialect_named
from agent.llm.errors import BudgetReached, ModelError
from agent.llm.messages import user
from agent.llm.request import ModelRef, ProviderSearch, Request
from agent.web.engines.base import EXCERPT, Found, Hit
from agent.web.errors import SearchFailed

if TYPE_CHECKING:
    from agent.llm.accounting import CallContext
    from agent.llm.client import ModelClient

ASK = "Search the web for this, and answer in a few sentences with the facts that you found, naming your sources:\n\n{query}"
ANSWER_TOKENS = 2_000
REMEDY = 'choose another engine: [web] search = "auto", or exa, tavily, brave, searxng, ddgs'


class Native:
    """The search of the endpoint that the main model is at. The call is in the ledger under the purpose `search`."""

    def __init__(self, client: ModelClient, model: str | None, context: CallContext) -> None:
        self._client, self._model, self._context = client, model, context

    async def search(self, query: str, domains: Domains) -> Found:
        """The results. Raises SearchFailed."""
        if self._model is None:
            raise SearchFailed("native", "unsupported", "there is no main model yet", remedy=REMEDY)
        model = ModelRef.parse(self._model)
        endpoint = self._client.endpoint(model.endpoint)
        if not dialect_named(endpoint.dialect).searches(endpoint):
            raise SearchFailed(
                "native", "unsupported", f"the endpoint {endpoint.name} has no search of its own", remedy=REMEDY
            )
        request = Request(
            model=model,
            messages=(user(ASK.format(query=query)),),
            max_tokens=ANSWER_TOKENS,
            search=ProviderSearch(domains.allowed, domains.excluded),
        )
        try:
            reply = await self._client.complete(request, replace(self._context, purpose="search"))
        except ModelError as error:
            kind = {
                "rate_limited": "rate_limited",
                "auth": "auth",
                "payment_required": "auth",
                "timed_out": "timed_out",
            }
            raise SearchFailed(
                "native", kind.get(error.kind, "unreachable"), error.message, remedy=error.remedy or REMEDY
            ) from error
        except (BudgetReached, UsageError) as error:
            raise SearchFailed("native", "auth", error.message) from error
        hits = tuple(Hit(each.url, each.title, each.quote[:EXCERPT]) for each in (*reply.citations, *reply.found))
        if not hits:
            raise SearchFailed("native", "empty", f"{endpoint.name} named no source", remedy=REMEDY)
        return Found(hits, None if reply.cost_nano is None else reply.cost_nano / 1e9, reply.message.text.strip())
