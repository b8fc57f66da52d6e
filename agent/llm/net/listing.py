"""Asking an endpoint which models it has."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from agent.llm.errors import ModelError, StreamBroken, TimedOut
from agent.llm.models.catalogue import ListedModel, merge, parse_models
from agent.llm.models.endpoint import ModelFacts
from agent.llm.net.http import get
from agent.text import foreign_json

if TYPE_CHECKING:
    from agent.llm.dialects.base import Dialect
    from agent.llm.models.endpoint import Endpoint
    from agent.llm.net.http import Http

LISTING_S = 20.0


async def list_models(http: Http, endpoint: Endpoint, dialect: Dialect, connect_s: float) -> list[ListedModel]:
    """The endpoint's list, and from llama.cpp also `/props`, which alone knows the window that its server was started with.

    Raises the refusal as the dialect classifies it, TimedOut after `LISTING_S` seconds, StreamBroken where the answer is not a list of models.
    """
    try:
        async with asyncio.timeout(LISTING_S):
            response = await get(
                http, endpoint, dialect.headers(endpoint), endpoint.base_url.rstrip("/") + dialect.list_path, connect_s
            )
            if not response.is_success:
                raise dialect.classify(response.status_code, response.headers, response.content, endpoint)
            try:
                models = parse_models(response.content)
            except ValueError as error:
                raise StreamBroken(f"{endpoint.name} answered GET /models with something else: {error}") from error
            window = await _llamacpp_window(http, endpoint, dialect, response.content, connect_s)
    except TimeoutError as error:
        raise TimedOut(
            f"{endpoint.name} gave no list of models within {LISTING_S:g} seconds", clock="ceiling"
        ) from error
    if window is None:
        return models
    told = ModelFacts(context_window=window)
    return [replace(model, facts=merge(told, model.facts)) for model in models]


async def _llamacpp_window(
    http: Http, endpoint: Endpoint, dialect: Dialect, listing: bytes, connect_s: float
) -> int | None:
    """Tokens of one slot of a llama.cpp server (its README, "GET /props"); None for any other server."""
    if b'"llamacpp"' not in listing:
        return None
    url = endpoint.base_url.rstrip("/").removesuffix("/v1") + "/props"
    with suppress(ModelError, ValueError, KeyError, TypeError):
        response = await get(http, endpoint, dialect.headers(endpoint), url, connect_s)
        settings: Any = foreign_json.loads(response.content)["default_generation_settings"]
        return int(settings["n_ctx"])
    return None
