"""What a request is changed to because the endpoint refused it as it was: once for each reason, and never blindly."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from agent.llm.errors import ModelNotFound, OutputRefused, ThinkingBound, Unsupported
from agent.llm.messages import user

if TYPE_CHECKING:
    from agent.llm.errors import ModelError
    from agent.llm.messages import Message
    from agent.llm.request import Request


class Adapted(NamedTuple):
    """The request to send instead, and the endpoint's peculiarities as they are known now. `taught`: the refusal says something new of it."""

    request: Request
    quirks: frozenset[str]
    taught: bool = False


def adapt(request: Request, quirks: frozenset[str], error: ModelError) -> Adapted | None:
    """What follows from a refusal; None where there is nothing to change, or it was changed already."""
    if isinstance(error, ThinkingBound) and request.thoughts:
        # Without its thoughts a conversation is always taken. That says nothing of the endpoint, and nothing is remembered of it.
        return Adapted(replace(request, thoughts=False), quirks)
    if isinstance(error, ModelNotFound) and request.served_as is not None:
        return Adapted(replace(request, served_as=None), quirks)
    if isinstance(error, Unsupported) and not error.features <= quirks:
        return Adapted(request, quirks | error.features, taught=True)
    return None


def note_of(error: OutputRefused) -> Message | None:
    """What the model is told whose output could not be used: it can mend what it wrote, while the same request brings the same. None
    where something was said already that the user has read."""
    if error.partial is not None and error.partial.text.strip():
        return None
    told = f"\nYou wrote:\n{error.written}" if error.written else ""
    note = f"(Your last output could not be used: {error.message}{told}\nGive it again, well-formed.)"
    return user(note, synthetic="continuation")
