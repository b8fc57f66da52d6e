"""A perfect prompt cache: it forgets nothing, and hits up to the last common character.

What providers bill as cached is the longest prefix that an earlier prompt of the same model had too. Here a prompt is the list of
its items (tools, system text, each message) as JSON, guidance included, in the order in which a model reads them; a token is four
characters. A client that changes one early byte loses everything behind it, so the figure shows how cache-friendly it is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tests.support.prompt import items_of, system_of, unmarked
from tests.support.script import CHARS_PER_TOKEN


def items(body: Mapping[str, Any]) -> list[str]:
    """A request's prompt, item by item, cache marks left out (they steer a cache, and are no part of the prompt)."""
    parts = [body.get("tools", []), system_of(body), *items_of(body)]
    return [json.dumps(unmarked(part), ensure_ascii=False) for part in parts]


def tokens(body: Mapping[str, Any]) -> int:
    """Length of a request's prompt in tokens."""
    return len("".join(items(body))) // CHARS_PER_TOKEN


class PrefixCache:
    """Remembers every prompt of every model."""

    def __init__(self) -> None:
        self._seen: dict[str, list[str]] = {}

    def take(self, model: str, body: Mapping[str, Any]) -> tuple[int, int]:
        """(prompt tokens, how many of them were cached); the prompt is remembered from now on."""
        prompt = "".join(items(body))
        earlier = self._seen.setdefault(model, [])
        cached = max((common_prefix(prompt, other) for other in reversed(earlier)), default=0)
        earlier.append(prompt)
        return len(prompt) // CHARS_PER_TOKEN, cached // CHARS_PER_TOKEN


def common_prefix(a: str, b: str) -> int:
    """Length of the longest common prefix, by bisection (a comparison of slices is fast, a loop in Python is not)."""
    if a.startswith(b):
        return len(b)
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        if a[:middle] == b[:middle]:
            low = middle
        else:
            high = middle - 1
    return low
