"""Where a request tells its endpoint's cache to remember it: the same places in every dialect."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from agent.llm.dialects.history import last_turn_start
from agent.llm.messages import Message

BREAKPOINT = {"prompt_cache_breakpoint": {"mode": "explicit"}}
"""OpenAI's mark on a content block of the prompt (not of an answer)."""
MOST_OF_OPENAI = 3
"""A request may write at four of them, and the API adds one near the newest message (guides/prompt-caching)."""


def marks_openai(quirks: frozenset[str]) -> bool:
    """True for models whose cache matches at OpenAI's breakpoints alone."""
    return "cache_breakpoint" in quirks and "no_cache_breakpoint" not in quirks


def leading_system(messages: Sequence[Message]) -> int:
    """How many system messages a conversation begins with."""
    return next((index for index, message in enumerate(messages) if message.role != "system"), len(messages))


def breakpoints(
    history: Sequence[Message], markable: Callable[[int], bool], *, shared: int = 0, most: int = 4
) -> list[int]:
    """Indices of messages whose end is a breakpoint: at most `most`, the tail not among them.

    They are the end of the system text, which new conversations share; the end of the previous request, which is in the cache already;
    the end of this one without its tail; and, where other conversations begin with `shared` of these messages, the last of those. So they
    move on as the conversation grows, and never back. Where a message can't carry one, the nearest before it does; where they are too
    many, the first is left out, which says least.
    """
    marked: list[int] = []
    for index in (
        leading_system(history) - 1,
        min(shared, len(history)) - 1,
        last_turn_start(history) - 1,
        len(history) - 1,
    ):
        while index >= 0 and not markable(index):
            index -= 1
        if index >= 0 and index not in marked:
            marked.append(index)
    return marked[-most:]
