"""How many tokens a text has, without a tokenizer: every provider has its own, and the endpoint's figure wins as soon as there is one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from agent.llm.identity_cache import Kind
from agent.llm.messages import ImagePart, ReasoningPart, TextPart

if TYPE_CHECKING:
    from agent.llm.messages import Message
    from agent.llm.request import Request, ToolSpec

# Tokens for one character, by the length of its UTF-8 form: ASCII; Latin, Greek, Cyrillic, Hebrew, Arabic; the rest (CJK, Indic …).
ASCII, TWO_BYTES, THREE_BYTES = 0.25, 0.6, 1.5

# Code, digits and rare words take more than a token for four characters; measured texts stay below this factor.
SAFETY = 1.35

IMAGE = 4_800
"""The most that one image costs at a provider we know (Anthropic, "Vision": high-resolution images)."""

EACH_MESSAGE = 8
LEAST_ANSWER = 256
EMULATION = 600
"""The instructions and schema that stand in for native tools (emulate.py)."""


def estimate_tokens(text: str) -> int:
    """About how many tokens a text has: for people, marked "≈". Takes about a millisecond for a million characters."""
    if text.isascii():
        return -(-len(text) // 4)
    narrow = len(text.encode("ascii", "ignore"))
    others = len(text) - narrow
    # Of the others, n2 take two bytes and n3 three: n2 + n3 = others, 2 n2 + 3 n3 = bytes. (A four-byte one counts as 2 n3 - n2: 2.4 tokens.)
    three = len(text.encode("utf-8", "surrogatepass")) - narrow - 2 * others
    return int(narrow * ASCII + (others - three) * TWO_BYTES + three * THREE_BYTES) + 1


def answer_room(window: int | None, most: int) -> int:
    """Tokens of an answer to a text that is fitted to a window: `most` of them, and no more than a quarter of a small window.

    More would leave no room for the text itself.
    """
    return most if window is None else min(most, max(LEAST_ANSWER, window // 4))


def estimate_message(message: Message) -> int:
    """About how many tokens a message has, images and calls included."""
    return sum(_costs().of(message))


def estimate_tool(tool: ToolSpec) -> int:
    """About how many tokens the description of a tool has."""
    return EACH_MESSAGE + estimate_tokens(tool.name + tool.description) + _json(tool.parameters)


def prompt_bound(request: Request, *, emulated: bool = False) -> int:
    """An upper bound, in practice, of a request's prompt tokens: every part of it, times a safety factor."""
    costs = _costs().each(request.messages)
    tokens, images = sum(cost.words for cost in costs), sum(cost.images for cost in costs)
    for tool in request.tools:
        tokens += estimate_tool(tool)
    if request.schema is not None:
        tokens += _json(request.schema.schema)
    if request.tail is not None:
        tokens += EACH_MESSAGE + estimate_tokens(request.tail)
    if emulated and request.tools:
        tokens += EMULATION
    return int(tokens * SAFETY) + images + 64


class _Cost(NamedTuple):
    """Tokens of one message: its words with all that is not an image, and its images."""

    words: int
    images: int


def _costs() -> Kind[_Cost]:
    return Kind("tokens", _cost)


def _cost(message: Message) -> _Cost:
    tokens, images = EACH_MESSAGE, 0
    for part in message.parts:
        if isinstance(part, TextPart):
            tokens += estimate_tokens(part.text)
        elif isinstance(part, ReasoningPart):
            # Provider blocks may carry the same text again, encrypted.
            tokens += max(estimate_tokens(part.text), _json(part.extra) if part.extra else 0)
        elif isinstance(part, ImagePart):
            images += IMAGE
        else:
            tokens += EACH_MESSAGE + estimate_tokens(part.name + part.arguments)
    if message.extra:
        tokens += _json(message.extra)
    return _Cost(tokens, images)


def _json(value: object) -> int:
    return estimate_tokens(json.dumps(value, ensure_ascii=False))
