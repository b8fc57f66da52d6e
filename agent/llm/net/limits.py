"""How much of an answer is taken. An endpoint that never ends its answer, or its line, is cut off, and what came until then is kept.

Tokens are what was asked for, so each limit is a multiple of `max_tokens`, far above what any model needs for them: a token has about
four characters, and some 300 bytes of JSON around it in a stream (600 where the reasoning is sent twice).
"""

from __future__ import annotations

CHARACTERS_PER_TOKEN = 16
CHARACTERS_MORE = 65_536
BYTES_PER_TOKEN = 1024
BYTES_MORE = 8 * 1024 * 1024

MOST_TOKENS = 256_000
"""Of an answer: no model gives more at once, whatever `max_tokens` says."""

EVENTS_PER_TOKEN = 8
EVENTS_MORE = 20_000

LINE_BYTES = 8 * 1024 * 1024
"""Of one server-sent event, over all its lines."""

REFUSAL_BYTES = 1_000_000
"""Of the body of a refusal; the rest is not read."""

LISTING_BYTES = 64 * 1024 * 1024
"""Of a list of models, or another answer to a GET."""


def answer_characters(max_tokens: int) -> int:
    """The most characters of text, reasoning and tool arguments together."""
    return CHARACTERS_MORE + CHARACTERS_PER_TOKEN * min(max_tokens, MOST_TOKENS)


def answer_events(max_tokens: int) -> int:
    """The most server-sent events, those included that say nothing."""
    return EVENTS_MORE + EVENTS_PER_TOKEN * min(max_tokens, MOST_TOKENS)


def answer_bytes(max_tokens: int) -> int:
    """The most bytes on the wire, keep-alives included."""
    return BYTES_MORE + BYTES_PER_TOKEN * min(max_tokens, MOST_TOKENS)
