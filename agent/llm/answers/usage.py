"""What an endpoint says of a call's tokens and cost, under every name that is known for it. Shared by all dialects.

A figure that can't be is no figure: an answer for which no positive prompt count came, or a count that is not a number of tokens, has
no usage at all. Its cost is then unknown, never nothing, and the bound that was reserved for it goes on counting.
"""

from __future__ import annotations

from typing import Any

from agent.llm.answers.reading import as_dict
from agent.llm.money import LARGEST_NANO, NANO, nano_from_usd
from agent.llm.stream import Usage

MOST_TOKENS = 10**15
"""What lies above is not a number of tokens."""

TICKS_PER_NANO = 10
"""xAI bills in ticks, 10^10 to the US dollar (https://docs.x.ai/developers/cost-tracking)."""

# Where each count stands, the first that is there holds. `a.b` is b inside a.
PROMPT = ("prompt_tokens", "input_tokens")
COMPLETION = ("completion_tokens", "output_tokens")
TOTAL = ("total_tokens",)
CACHED = (
    "prompt_tokens_details.cached_tokens",
    "input_tokens_details.cached_tokens",
    "cache_read_input_tokens",  # Anthropic, LiteLLM
    "prompt_cache_hit_tokens",  # DeepSeek
    "cached_tokens",  # Moonshot
)
CACHE_WRITE = (
    "prompt_tokens_details.cache_write_tokens",  # OpenAI, OpenRouter
    "input_tokens_details.cache_write_tokens",
    "prompt_tokens_details.cache_creation_tokens",  # LiteLLM
    "prompt_tokens_details.cache_creation_input_tokens",  # Alibaba
    "cache_creation_input_tokens",  # Anthropic, LiteLLM
)
REASONING = (
    "completion_tokens_details.reasoning_tokens",
    "output_tokens_details.reasoning_tokens",
    "output_tokens_details.thinking_tokens",
    "reasoning_tokens",
)
# llama.cpp's `timings`: `cache_n` prompt tokens came from the cache, `prompt_n` were computed.
TIMINGS = ("timings.cache_n", "timings.prompt_n", "timings.predicted_n")

_NAMES = (*PROMPT, *COMPLETION, *TOTAL, *CACHED, *CACHE_WRITE, *REASONING, *TIMINGS)
_LENGTHS = (*COMPLETION, *TOTAL, "timings.predicted_n")
_BESIDE_INPUT = ("cache_read_input_tokens", "cache_creation_input_tokens")


class UsageReport:
    """All that was reported of one call. Counts are cumulative: a later one replaces an earlier one, but a zero replaces nothing."""

    def __init__(self) -> None:
        self._counts: dict[str, int | None] = {}
        self._cost: int | None = None
        self._spoken = False
        self._length_open = False
        self._made: tuple[Usage | None] | None = None  # of what is known by now

    def said(self) -> None:
        """The model said something: a length that was reported before is not the answer's."""
        if not (self._spoken and self._length_open):
            self._spoken, self._length_open, self._made = True, True, None

    def add(self, usage: dict[str, Any], timings: dict[str, Any] | None = None, *, begun: bool = False) -> None:
        """Take a `usage` object, and llama.cpp's `timings`. `begun`: the answer has only begun, so a length in it is none."""
        if not usage and not timings:  # nearly every event of a stream
            if begun:
                self._length_open, self._made = True, None
            return
        self._made = None
        said = {**usage, "timings": timings}
        counts = {name: value for name in _NAMES if (value := _find(said, name)) is not None}
        lengths = [name for name in _LENGTHS if name in counts]
        if begun:
            self._length_open = True
            for name in lengths:
                del counts[name]
        elif lengths:
            self._length_open = False
        for name, value in counts.items():
            count = _count(value)
            if count == 0:
                self._counts.setdefault(name, 0)
            else:
                self._counts[name] = count
        cost = _cost(usage)
        self._cost = self._cost if cost is None else cost

    @property
    def usage(self) -> Usage | None:
        """Tokens by kind; None where one that is needed is missing, or one can't be."""
        if self._made is None:
            self._made = (self._usage(),)
        return self._made[0]

    def _usage(self) -> Usage | None:
        prompt, cached, written = self._prompt()
        completion, reasoning = self._completion(prompt)
        if not prompt or self._length_open or (self._spoken and not completion) or None in self._counts.values():
            return None
        return Usage(prompt, cached, written, completion, reasoning)

    @property
    def cost_nano(self) -> int | None:
        """The endpoint's own figure; None where it gives none. That an answer cost nothing is believed only where its prompt was counted."""
        return None if self._cost == 0 and not self._prompt()[0] else self._cost

    def _prompt(self) -> tuple[int, int, int]:
        """All prompt tokens, and those of them that the cache held and took."""
        prompt, cached, written = self._first(PROMPT), self._first(CACHED), self._first(CACHE_WRITE)
        held = self._first(("timings.cache_n",))
        prompt = prompt or held + self._first(("timings.prompt_n",))
        cached = cached or min(held, prompt)
        # Anthropic's `input_tokens` leave out what the cache held or took. So does a prompt that is smaller than what it would contain.
        beside = not self._first(("prompt_tokens",)) and any(self._counts.get(name) for name in _BESIDE_INPUT)
        if beside or (prompt and cached + written > prompt):
            prompt += cached + written
        return prompt, cached, written

    def _completion(self, prompt: int) -> tuple[int, int]:
        """All completion tokens, and those of them that were reasoning.

        xAI and Gemini leave reasoning out of `completion_tokens`; their total has it. Where there is no total, reasoning that is
        more than the whole stands beside it, too.
        """
        reasoning = self._first(REASONING)
        completion = self._first(COMPLETION) or self._first(("timings.predicted_n",))
        completion = max(completion, self._first(TOTAL) - prompt)
        return (completion + reasoning if reasoning > completion else completion), reasoning

    def _first(self, names: tuple[str, ...]) -> int:
        return next((count for name in names if (count := self._counts.get(name) or 0)), 0)


def _find(usage: dict[str, Any], name: str) -> object:
    outer, dot, inner = name.partition(".")
    return as_dict(usage.get(outer)).get(inner) if dot else usage.get(name)


def _count(value: object) -> int | None:
    """A number of tokens; None for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MOST_TOKENS:
        return None
    return int(value) if value == int(value) else None


def _cost(usage: dict[str, Any]) -> int | None:
    """The reply's own figure in nano-dollars; None where it gives none, or one that can't be (some say -1 for "depends").

    OpenRouter's credits are US dollars. With a key of one's own (BYOK) its `cost` is only the gateway's fee: what the provider
    charges is in `cost_details`.
    """
    ticks = usage.get("cost_in_usd_ticks")
    if isinstance(ticks, int) and not isinstance(ticks, bool) and ticks >= 0:
        exact = -(-ticks // TICKS_PER_NANO)
        return exact if exact <= LARGEST_NANO else None
    cost = usage.get("cost", usage.get("estimated_cost"))  # the latter is DeepInfra's
    nano = _nano(cost.get("total_cost") if isinstance(cost, dict) else cost)
    if nano is None or not usage.get("is_byok"):
        return nano
    upstream = _nano(as_dict(usage.get("cost_details")).get("upstream_inference_cost"))
    return None if upstream is None else nano + upstream


def _nano(dollars: object) -> int | None:
    if isinstance(dollars, bool) or not isinstance(dollars, int | float) or not 0 <= dollars * NANO <= LARGEST_NANO:
        return None
    return nano_from_usd(dollars)
