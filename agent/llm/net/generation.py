"""Asking OpenRouter what a call cost that we have lost sight of: `GET /generation?id=` (its API reference, "Get a generation")."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from agent.llm.errors import ModelError
from agent.llm.money import nano_from_usd
from agent.llm.net.http import get
from agent.llm.stream import Usage
from agent.text import foreign_json

if TYPE_CHECKING:
    from agent.llm.dialects.base import Dialect
    from agent.llm.models.endpoint import Endpoint
    from agent.llm.net.http import Http

LOOKUP_S = 10.0
HOST = "openrouter.ai"


def can_tell(endpoint: Endpoint) -> bool:
    """True where the endpoint answers for calls by their id: OpenRouter's does, and needs the key for it."""
    return urlsplit(endpoint.base_url).hostname == HOST and endpoint.api_key is not None


async def look_up(
    http: Http, endpoint: Endpoint, dialect: Dialect, generation_id: str, connect_s: float
) -> tuple[Usage | None, int] | None:
    """Usage and nano-dollars of one call; None where the endpoint does not know it (yet). Raises ModelError where it can't be asked."""
    url = f"{endpoint.base_url.rstrip('/')}/generation?id={quote(generation_id, safe='')}"
    try:
        async with asyncio.timeout(LOOKUP_S):
            response = await get(http, endpoint, dialect.headers(endpoint), url, connect_s)
    except TimeoutError:
        return None
    if response.status_code == 404:
        return None
    if not response.is_success:
        raise dialect.classify(response.status_code, response.headers, response.content, endpoint)
    try:
        return read(foreign_json.loads(response.content)["data"])
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ModelError(f"{endpoint.name} answered GET /generation with something else") from None


def read(data: dict[str, Any]) -> tuple[Usage | None, int]:
    """The `data` of the answer; its usage is None where it has no count of the prompt. Raises KeyError, TypeError or ValueError where it
    lacks the cost or has nonsense for one of them."""
    usage = Usage(
        prompt=_count(data, "native_tokens_prompt", "tokens_prompt"),
        cached=_count(data, "native_tokens_cached"),
        completion=_count(data, "native_tokens_completion", "tokens_completion"),
        reasoning=_count(data, "native_tokens_reasoning"),
    )
    return usage if usage.prompt else None, nano_from_usd(data["total_cost"])


def _count(data: dict[str, Any], *names: str) -> int:
    count = next((int(data[name]) for name in names if data.get(name) is not None), 0)
    if count < 0:
        raise ValueError(f"a negative number of tokens: {count}")
    return count
