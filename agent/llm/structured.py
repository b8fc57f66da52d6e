"""Asking a model for one JSON object: the strictest way that its endpoint takes, repair, and one more try.

What an endpoint refuses is remembered in one place, the learned quirks of the client. So the ladder begins where the last one ended.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Generic, TypeVar, get_args

from agent.llm.dialects.structure import mode_sent
from agent.llm.errors import BadRequest, ContextOverflow, ModelNotFound, Unsupported
from agent.llm.request import OutputMode

if TYPE_CHECKING:
    from agent.llm.accounting import CallContext
    from agent.llm.client import ModelClient
    from agent.llm.request import ModelRef, Request, Schema
    from agent.llm.stream import Reply, StreamEvent

T = TypeVar("T")

MODES: tuple[OutputMode, ...] = get_args(OutputMode)
"""From the strictest to the loosest."""
AGAIN = "Your last reply could not be used: {problem}. Reply once more, with the JSON object alone."
_REFUSED: dict[OutputMode, frozenset[str]] = {
    "json_schema": frozenset(),
    "json_object": frozenset({"no_json_schema"}),
    "prompt": frozenset({"no_json_schema", "no_json_object"}),
}
"""What an endpoint is known to refuse that has answered in this mode and in no stricter one."""


@dataclass(frozen=True, slots=True)
class Answered(Generic[T]):
    """What was read, the reply that it was in, the mode that was really sent, and whether the model had to be asked twice."""

    value: T
    reply: Reply
    mode: OutputMode
    retried: bool


class Unreadable(ValueError):
    """The model answered, twice, and no object could be read out of it. `reply` is the second answer; the cause says what was wrong."""

    def __init__(self, message: str, reply: Reply) -> None:
        super().__init__(message)
        self.reply = reply


def nothing(_attempt: Reply | BadRequest) -> None:
    """For who does not count the attempts."""


async def ask_object(
    client: ModelClient,
    request: Request,
    context: CallContext,
    *,
    schema: Schema,
    read: Callable[[str], T],
    on_event: Callable[[StreamEvent], None] | None = None,
    on_attempt: Callable[[Reply | BadRequest], None] = nothing,
) -> Answered[T]:
    """Ask until `read` takes the answer's text. It raises ValueError for what it can't use, and the model is told why, once.

    `on_attempt` gets each reply, and each refusal after which a looser mode is tried. Raises Unreadable, and whatever
    `ModelClient.complete` raises.
    """
    tail = request.tail
    for retried in (False, True):
        reply, mode = await _call(client, replace(request, tail=tail), context, schema, on_event, on_attempt)
        on_attempt(reply)
        try:
            return Answered(read(reply.message.text or reply.message.reasoning), reply, mode, retried)
        except ValueError as problem:
            if retried:
                raise Unreadable(str(problem), reply) from problem
            again = AGAIN.format(problem=" ".join(str(problem).split())[:200])
            tail = "\n\n".join(filter(None, (request.tail, again)))
    raise AssertionError("the second attempt returns or raises")


async def _call(
    client: ModelClient,
    request: Request,
    context: CallContext,
    schema: Schema,
    on_event: Callable[[StreamEvent], None] | None,
    on_attempt: Callable[[Reply | BadRequest], None],
) -> tuple[Reply, OutputMode]:
    """Make the call in the strictest mode that is not refused, and say which that was."""
    wanted = MODES[0]
    while True:
        # The client itself asks for less where it knows of a refusal; so begin there, or a refusal would be asked for twice.
        mode = mode_sent(wanted, _quirks(client, request.model))
        try:
            asked = replace(request, schema=replace(schema, mode=mode))
            reply = await client.complete(asked, context, on_event=on_event)
        except BadRequest as refusal:
            mode = mode_sent(mode, _quirks(client, request.model))  # it may have learned something on the way
            if mode == MODES[-1] or not _about_json(refusal):
                raise
            on_attempt(refusal)
            wanted = MODES[MODES.index(mode) + 1]
        else:
            # Only now is it known that it was the mode which was refused.
            if missing := _REFUSED[wanted] - _quirks(client, request.model):
                client.learned(request.model, missing)
            return reply, mode_sent(mode, reply.quirks or frozenset())


def _quirks(client: ModelClient, model: ModelRef) -> frozenset[str]:
    return client.quirks(client.endpoint(model.endpoint), model.model)


def _about_json(refusal: BadRequest) -> bool:
    """Whether a looser mode may help: a named refusal of JSON, or one that names nothing."""
    if isinstance(refusal, Unsupported):
        return "json" in refusal.feature or "schema" in refusal.feature
    return not isinstance(refusal, ModelNotFound | ContextOverflow)
