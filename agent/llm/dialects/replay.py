"""Stored answers as an endpoint: what real models once said to the same prompts, without a key and without a network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from agent.llm.dialects.chat import ChatDialect

if TYPE_CHECKING:
    from agent.llm.dialects.base import Decoder, Exchange
    from agent.llm.models.endpoint import Endpoint


class ReplayDialect(ChatDialect):
    """Requests and answers are those of Chat Completions; they only never leave the process."""

    name = "replay"
    path = ""
    list_path = ""

    def headers(self, endpoint: Endpoint) -> dict[str, str]:
        """There are none."""
        return {}

    def exchange(self, decoder: Decoder, endpoint: Endpoint, headers: Mapping[str, str] | None = None) -> Exchange:
        """One stored answer, looked up and told."""
        from agent.llm.net.replay import ReplayExchange

        return ReplayExchange(self, decoder, endpoint)
