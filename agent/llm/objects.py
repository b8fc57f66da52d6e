"""Asking a model for one JSON object: the strictest way that its endpoint takes, repair, and one more try."""

from __future__ import annotations

from collections.abc import Callable, Collection, MutableMapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from agent.llm.answers.loose_json import find_object
from agent.llm.errors import BadRequest, ContextOverflow, ModelNotFound, Unsupported
from agent.llm.request import Schema

if TYPE_CHECKING:
    from agent.llm.accounting import CallContext
    from agent.llm.client import ModelClient
    from agent.llm.request import Request
    from agent.llm.stream import Reply, StreamEvent

Mode = Literal["json_schema", "json_object", "prompt"]
MODES: tuple[Mode, ...] = ("json_schema", "json_object", "prompt")


class Unreadable(ValueError):
    """The model answered, twice, and no object could be read out of it."""


async def ask_object(
    client: ModelClient,
    request: Request,
    context: CallContext,
    *,
    schema: Schema,
    keys: Collection[str],
    again: str,
    modes: MutableMapping[str, Mode],
    on_event: Callable[[StreamEvent], None] | None = None,
) -> tuple[dict[str, Any], Reply]:
    """The object (keys in snake case, perhaps only some of `keys`) and the reply that it was in.

    `modes` remembers, by ENDPOINT:MODEL, what a refusal has taught. `again` is a template for the second try, with `{problem}` in it.
    Raises Unreadable, and whatever `ModelClient.complete` raises.
    """
    tail = request.tail
    for attempt in (1, 2):
        reply = await _call(client, replace(request, tail=tail), context, schema, modes, on_event)
        try:
            found, _mended = find_object(reply.message.text or reply.message.reasoning, keys)
        except ValueError as problem:
            if attempt == 2:
                raise Unreadable(str(problem)) from None
            tail = "\n\n".join(filter(None, (request.tail, again.format(problem=str(problem)[:200]))))
        else:
            return found, reply
    raise AssertionError("the second attempt returns or raises")


async def _call(
    client: ModelClient,
    request: Request,
    context: CallContext,
    schema: Schema,
    modes: MutableMapping[str, Mode],
    on_event: Callable[[StreamEvent], None] | None,
) -> Reply:
    name = str(request.model)
    while True:
        mode = modes.get(name, MODES[0])
        try:
            return await client.complete(
                replace(request, schema=replace(schema, mode=mode)), context, on_event=on_event
            )
        except BadRequest as refusal:
            if mode == MODES[-1] or not _about_json(refusal):
                raise
            modes[name] = MODES[MODES.index(mode) + 1]


def _about_json(refusal: BadRequest) -> bool:
    """Whether a looser mode may help: a named refusal of JSON, or one that names nothing."""
    if isinstance(refusal, Unsupported):
        return "json" in refusal.feature or "schema" in refusal.feature
    return not isinstance(refusal, ModelNotFound | ContextOverflow)
