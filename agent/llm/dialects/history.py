"""A history made fit for the wire, without ever changing what was sent before.

Everything here looks only at a message and its neighbours before it, so that a longer history encodes to the same items followed by
more: that is what a provider's prompt cache lives on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from agent.llm.identity_cache import Kind
from agent.llm.messages import Message, Part, TextPart, ToolCallPart, assistant, tool_result, user
from agent.text import foreign_json

NO_RESULT = "(no result: the call was interrupted)"
NO_REPLY = "(no reply)"
GO_ON = "(go on)"
_NO_REPLY, _GO_ON = assistant(NO_REPLY), user(GO_ON)


def settle(messages: Sequence[Message]) -> list[Message]:
    """Each tool call is followed by its result, each result preceded by its call, and no message is empty.

    A call that the history cut off from its result gets one that says so; a result without a call becomes the user's text. It
    holds for a history that grows by whole tool rounds; a result that comes after the history went on without it is such text.
    """
    settled: list[Message] = []
    waiting: dict[str, ToolCallPart] = {}
    for message, (calls, empty) in zip(messages, Kind("facts", _facts).each(messages), strict=True):
        if message.role == "tool":
            if waiting.pop(message.tool_call_id or "", None):
                settled.append(message)
                continue
            message, calls, empty = as_text(message), (), False
        if waiting:
            settled += [tool_result(call, NO_RESULT, is_error=True) for call in waiting.values()]
            waiting = {}
        if calls:
            waiting = {call.id: call for call in calls}
        if not empty:
            settled.append(message)
    settled += [tool_result(call, NO_RESULT, is_error=True) for call in waiting.values()]
    return settled


def alternate(messages: Sequence[Message]) -> list[Message]:
    """Between two messages of the same side stands a short one of the other, for templates that insist on taking turns.

    Merging the two would change a message that was already sent, and empty the endpoint's cache.
    """
    turns: list[Message] = []
    side = "assistant"
    for message in messages:
        if message.role == "system":
            turns.append(message)
            continue
        if message.role == "tool":
            turns.append(message)
            side = "user"
            continue
        if message.role == side:
            turns.append(_NO_REPLY if side == "user" else _GO_ON)
        turns.append(message)
        side = message.role
    return turns


def without_traffic(messages: Sequence[Message]) -> list[Message]:
    """The messages, with their tool traffic as plain text, for requests that carry no tools."""
    return Kind("as text", as_text).each(messages)


def as_user(messages: Sequence[Message], *, after: int) -> list[Message]:
    """The messages, in which a system message behind the first so many is the user's."""
    said = Kind("as user", _as_user)
    return [
        said.of(message) if message.role == "system" and at >= after else message for at, message in enumerate(messages)
    ]


def as_text(message: Message) -> Message:
    """A message whose tool traffic is plain text."""
    if message.role == "tool":
        return user(f"[result of {message.tool_name or 'a tool'}]\n{message.text}")
    if not message.tool_calls:
        return message
    calls = [TextPart(text=f"\n[called {call.name} with {call.arguments}]") for call in message.tool_calls]
    others: list[Part] = [part for part in message.parts if not isinstance(part, ToolCallPart)]
    return replace(message, parts=(*others, *calls))


def arguments_object(arguments: str) -> dict[str, Any]:
    """A call's arguments as a JSON object; what can't be read as one (cut off, or no object) is kept under one key."""

    try:
        value = foreign_json.loads(arguments or "{}", tolerant=False)
    except ValueError:
        value = None
    return value if isinstance(value, dict) else {"unreadable_arguments": arguments}


def valid_arguments(arguments: str) -> str:
    """A call's arguments as JSON text: as the model wrote them where they are an object.

    Chat templates and proxies parse the arguments of old calls: one that was cut off would be refused for ever after.
    """
    import json

    value = arguments_object(arguments)
    if not arguments or "unreadable_arguments" in value:
        return json.dumps(value, ensure_ascii=False)
    return arguments


def last_turn_start(messages: Sequence[Message]) -> int:
    """Where the newest answer begins: the index of the last assistant message (0 where there is none).

    What stands before it was the whole of the previous request, and is in the provider's cache.
    """
    for index in range(len(messages) - 1, -1, -1):
        if messages[index].role == "assistant":
            return index
    return 0


def _as_user(message: Message) -> Message:
    return user(message.text)


def _facts(message: Message) -> tuple[tuple[ToolCallPart, ...], bool]:
    """Its calls, and whether it is empty."""
    return message.tool_calls, _is_empty(message)


def _is_empty(message: Message) -> bool:
    """No text, no call, no image: nothing a provider would accept as a message. Reasoning alone can't stand either."""
    return all(
        part.type == "reasoning" or (isinstance(part, TextPart) and (not part.text or part.text.isspace()))
        for part in message.parts
    )
