"""What is known of model families: how deep they can be told to think, and which fields they refuse. One table, with sources.

A row holds for its line of models from a version on, until the line's next row; a newer model than the last row is like the last row, and
so is an alias that names no version (`~anthropic/claude-opus-latest`). A model of no line here is unknown, which forbids nothing.
What an endpoint's own list says of a model (`ModelFacts.efforts`) beats this table.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal, get_args

from agent.llm.request import Effort
from agent.values import dataclass

EFFORTS: tuple[Effort, ...] = get_args(Effort)

# How a model is told not to think: it does so only when asked (nothing is sent), by a type of Anthropic's `thinking`, or by the level.
Off = Literal["unasked", "disabled", "between_tools", "level"]


@dataclass(frozen=True, slots=True)
class Family:
    """A line of models from version `since` on.

    `levels` are those that it takes; `off` is how thinking is switched off, None where it can't be. `quirks` are names of quirks.py.
    """

    line: str
    since: tuple[int, ...]
    levels: tuple[Effort, ...]
    off: Off | None
    quirks: frozenset[str] = frozenset()

    @property
    def thinks_unasked(self) -> bool:
        """True where it thinks unless it is told not to."""
        return self.off != "unasked"


_TO_HIGH: tuple[Effort, ...] = ("low", "medium", "high")
_ALL_OF_CLAUDE: tuple[Effort, ...] = (*_TO_HIGH, "xhigh", "max")

_MANUAL = frozenset({"manual_thinking"})
_ENDED = frozenset({"no_prefill"})
_FIXED = _ENDED | {"no_temperature"}
_FIXED_FREE = _FIXED | {"no_forced_tool_choice"}
_OPENAI = frozenset({"no_temperature"})
_OPENAI_MARKED = _OPENAI | {"cache_breakpoint", "prompt_cache_key"}
_PLAIN = frozenset({"no_reasoning"})

# Anthropic, read 2026-11: platform.claude.com, build-with-claude/effort, /thinking and /adaptive-thinking, the "what's new" and migration
# pages of each model since 4.6. OpenAI: developers.openai.com, guides/reasoning and guides/prompt-caching, the model pages, and the types
# of openai-python 3.57. Within a line the rows are in the order of their versions.
TABLE: tuple[Family, ...] = (
    # Until 4.5 thinking takes a budget of tokens, of which every level makes one.
    Family("claude-opus", (0,), EFFORTS[1:], "unasked", _MANUAL),
    Family("claude-opus", (4, 6), (*_TO_HIGH, "max"), "unasked", _ENDED),
    Family("claude-opus", (4, 7), _ALL_OF_CLAUDE, "unasked", _FIXED),
    Family("claude-opus", (5,), _ALL_OF_CLAUDE, "disabled", _FIXED),
    Family("claude-opus", (5, 5), _ALL_OF_CLAUDE, None, _FIXED_FREE),
    Family("claude-sonnet", (0,), EFFORTS[1:], "unasked", _MANUAL),
    Family("claude-sonnet", (4, 6), (*_TO_HIGH, "max"), "unasked", _ENDED),
    Family("claude-sonnet", (5,), _ALL_OF_CLAUDE, "disabled", _FIXED),
    Family("claude-sonnet", (5, 5), _ALL_OF_CLAUDE, "between_tools", _FIXED_FREE),
    Family("claude-haiku", (0,), EFFORTS[1:], "unasked", _MANUAL),
    Family("claude-haiku", (5, 5), _ALL_OF_CLAUDE, "disabled", _FIXED),
    Family("claude-fable", (5,), _ALL_OF_CLAUDE, None, _FIXED),
    Family("claude-fable", (5, 1), _ALL_OF_CLAUDE, None, _FIXED_FREE),
    Family("claude-mythos", (0,), _ALL_OF_CLAUDE, None, _FIXED),
    Family("claude-mythos", (5, 1), _ALL_OF_CLAUDE, None, _FIXED_FREE),
    Family("claude", (0,), EFFORTS[1:], "unasked", _MANUAL),
    # `gpt-4.1` and its elders do not reason.
    Family("gpt", (0,), (), "unasked", _PLAIN),
    Family("gpt", (5,), ("minimal", *_TO_HIGH), None, _OPENAI),
    Family("gpt", (5, 1), ("none", *_TO_HIGH), "level", _OPENAI),
    Family("gpt", (5, 2), ("none", *_TO_HIGH, "xhigh"), "level", _OPENAI),
    Family("gpt", (5, 6), ("none", *_TO_HIGH, "xhigh", "max"), "level", _OPENAI_MARKED),
    # Astra and everything from 6.1 on have no `none`.
    Family("gpt", (6, 1), (*_TO_HIGH, "xhigh", "max"), None, _OPENAI_MARKED),
    Family("gpt-astra", (0,), (*_TO_HIGH, "xhigh", "max"), None, _OPENAI_MARKED),
    Family("gpt-pro", (0,), ("high",), None, _OPENAI),
    Family("gpt-pro", (5, 2), ("medium", "high", "xhigh"), None, _OPENAI),
    Family("gpt-pro", (5, 6), ("medium", "high", "xhigh", "max"), None, _OPENAI_MARKED),
    Family("gpt-chat", (0,), (), "unasked", _PLAIN | _OPENAI),
    Family("gpt-oss", (0,), _TO_HIGH, None),
    Family("o", (1,), _TO_HIGH, None, _OPENAI),
)

# Compiled on first use: a start that calls no model of these needs none.
_CLAUDE = r"claude-(?:(\d)(?:[-.](\d))?-)?(opus|sonnet|haiku|fable|mythos)(?:-(\d+)(?!\d))?(?:[-.](\d{1,2})(?!\d))?"
_CLAUDE_ELDER = r"claude-(\d|instant)"
_GPT = r"(?:^|/)gpt-(?:(oss)|(\d+)(?:\.(\d+))?)(.*)"
_GPT_LATEST = r"(?:^|/)gpt-latest"
_O = r"(?:^|/)o(\d)(?:$|-)"
_NEWEST = (999,)


@lru_cache(maxsize=256)
def family_of(model: str) -> Family | None:
    """The family of a model by its id, with or without a vendor in front; None where none is known."""
    found = _line_of(model.lower())
    if found is None:
        return None
    line, version = found
    rows = [family for family in TABLE if family.line == line and family.since <= version]
    return rows[-1] if rows else None


def _line_of(model: str) -> tuple[str, tuple[int, ...]] | None:
    if named := re.search(_CLAUDE, model):
        before, before_minor, line, major, minor = named.groups()
        if before:  # claude-3-5-sonnet-20241022, claude-5-fable-20260609
            return f"claude-{line}", (int(before), int(before_minor or 0))
        if major is None or len(major) > 2:
            return f"claude-{line}", _NEWEST
        return f"claude-{line}", (int(major), int(minor or 0))
    if re.search(_CLAUDE_ELDER, model):
        return "claude", (0,)
    if re.search(_GPT_LATEST, model):
        return "gpt", _NEWEST
    if named := re.search(_GPT, model):
        oss, major, minor, rest = named.groups()
        if oss:
            return "gpt-oss", (0,)
        kind = next((kind for kind in ("astra", "pro", "chat") if f"-{kind}" in rest), None)
        return f"gpt-{kind}" if kind else "gpt", (int(major), int(minor or 0))
    if named := re.search(_O, model):
        return "o", (int(named.group(1)),)
    return None
