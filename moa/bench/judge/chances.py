"""How sure a judge was: the probability of each verdict, from the log-probabilities of the token that decided it."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from itertools import accumulate

from agent.llm.stream import Token

LIKELIEST = 5
"""Alternatives that are asked for: verdicts are two or three words, and some endpoints give no more than five."""


def chances(tokens: Sequence[Token], key: str, words: Sequence[str], said: str) -> dict[str, float] | None:
    """The probability of each of `words` as the value of `key` in the JSON object that these tokens spell; they sum to 1. `said` is the
    one that was read out of it.

    None where it can't be told: the endpoint gave no log-probabilities, or not those of the token with which the verdict was decided, or no
    alternative to it. What is not among the token's likeliest alternatives counts as 0, and what is no verdict at all does not count.
    """
    text = b"".join(token.text for token in tokens)
    named = re.compile(rb'"%b"\s*:\s*' % re.escape(key).encode())
    # The last one: the verdict stands at the end, and a reason before it may have the same words.
    last = max((found.start() for found in named.finditer(text)), default=len(text))

    def begun(spelled: bytes) -> str | None:
        """Which word a text has begun to say behind the key."""
        found = named.match(spelled, last)
        value = "" if found is None else spelled[found.end() :].decode("utf-8", "replace").strip(" \t\r\n\"'").lower()
        fits = [word for word in words if value and (word.startswith(value) or value.startswith(word))]
        return fits[0] if len(fits) == 1 else None

    for token, end in zip(tokens, accumulate(len(token.text) for token in tokens), strict=True):
        if end <= last or (word := begun(text[:end])) is None:
            continue
        before = text[: end - len(token.text)]
        listed = {token.text: token.logprob, **dict(token.likeliest)}
        if word != said or len(listed) < 2:
            return None
        weights = dict.fromkeys(words, 0.0)
        for alternative, logprob in listed.items():
            if (word := begun(before + alternative)) is not None:
                weights[word] += math.exp(logprob)
        whole = sum(weights.values())
        return {word: weight / whole for word, weight in weights.items()} if whole else None
    return None
