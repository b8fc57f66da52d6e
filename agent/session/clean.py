"""What may not be kept or sent: configured keys, and halves of characters. Taken out when something joins a session."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from agent.llm.messages import ImagePart, Message, Part, ReasoningPart, TextPart, ToolCallPart
from agent.session.sent import unmarked
from agent.text.encodable import whole

Redact = Callable[[str], str]

# Keys whose values are words of the format itself ("assistant"), whatever somebody's key may be.
_WORDS = frozenset({"type", "role"})


def clean_value(value: Any, redact: Redact) -> Any:
    """A plain value as it may be written: secrets are taken out of its texts, never out of the JSON around them."""
    if isinstance(value, str):
        return redact(whole(value))
    if isinstance(value, dict):
        return {whole(key): item if key in _WORDS else clean_value(item, redact) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [clean_value(item, redact) for item in value]
    return value


def clean_message(message: Message, redact: Redact) -> Message:
    """A message as it may join: the same one where nothing had to be taken out.

    A provider's own block goes back untouched or not at all: where a key stands in one, the block is left out with its signature. What
    tools bring loses the marks that guidance stands between.
    """
    parts = tuple(
        _part(part, redact, tool=message.role == "tool" or message.synthetic == "shell") for part in message.parts
    )
    extra = message.extra
    if extra is not None and clean_value(extra, redact) != extra:
        extra = {key: value for key, value in extra.items() if clean_value(value, redact) == value} or None
    tool_name = message.tool_name and redact(whole(message.tool_name))
    command = message.command and redact(whole(message.command))
    same = extra is message.extra and (tool_name, command) == (message.tool_name, message.command)
    if same and all(new is old for new, old in zip(parts, message.parts, strict=True)):
        return message
    return replace(message, parts=parts, extra=extra, tool_name=tool_name, command=command)


def _part(part: Part, redact: Redact, *, tool: bool) -> Part:
    match part:
        case ImagePart():
            return part
        case TextPart():
            text = redact(whole(part.text))
            text = unmarked(text) if tool else text
            return part if text == part.text else replace(part, text=text)
        case ReasoningPart():
            text = redact(whole(part.text))
            same = text == part.text and (part.extra is None or clean_value(part.extra, redact) == part.extra)
            return part if same else replace(part, text=text, extra=None)
        case ToolCallPart():
            arguments, extra = redact(whole(part.arguments)), part.extra
            if extra is not None and clean_value(extra, redact) != extra:
                extra = None
            name = redact(whole(part.name))
            same = (name, arguments) == (part.name, part.arguments) and extra is part.extra
            return part if same else replace(part, name=name, arguments=arguments, extra=extra)
