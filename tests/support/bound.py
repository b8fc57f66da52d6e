"""Histories whose replies remember what they were made on, as the client leaves them in a session."""

from __future__ import annotations

from dataclasses import replace

from agent.llm.binding import binding
from agent.llm.dialects.base import Dialect
from agent.llm.models.endpoint import Endpoint
from agent.llm.request import Request


def answered(
    dialect: Dialect, request: Request, endpoint: Endpoint, quirks: frozenset[str] = frozenset(), served: str = ""
) -> Request:
    """The request with each reply in it bound to all that stands before it."""
    for index, message in enumerate(request.messages):
        if message.role == "assistant":
            before = replace(request, messages=request.messages[:index], tail=None)
            items = dialect.items(dialect.encode(before, endpoint, quirks))
            bound = replace(message, binding=binding(items, message, endpoint, served, bare=False))
            request = replace(request, messages=(*request.messages[:index], bound, *request.messages[index + 1 :]))
    return request
