"""Tokens in the words of each wire. An upstream that reports none gets an estimate: clients crash on a missing usage, and never compact on zeros."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from agent.llm.messages import Message
from agent.llm.stream import Usage
from agent.llm.tokens import estimate_message, estimate_tokens

_NOT_COUNTED = 2_000
"""Strings of a body that are longer and begin as base64 does are images, or sealed thoughts."""
_DATA = re.compile(r"(data:[\w/.+-]+;base64,)?[A-Za-z0-9+/=_-]{2000}")
_IMAGE = 1_600
"""About what an image costs (Anthropic, "Vision")."""


def usage_of(usage: Usage | None, message: Message | None, body: Mapping[str, Any]) -> Usage:
    """The usage as reported, else an estimate of it from the request's body and what was answered."""
    if usage is not None and (usage.prompt or usage.completion):
        return usage
    answered = 0 if message is None else estimate_message(message)
    return Usage(prompt=estimate_body(body), completion=answered)


def estimate_body(body: Mapping[str, Any]) -> int:
    """About how many tokens a request has, from its JSON."""
    said = {
        key: value for key, value in body.items() if key in ("messages", "input", "instructions", "system", "tools")
    }
    kept, images = _without_data(said)
    return max(1, estimate_tokens(json.dumps(kept, ensure_ascii=False)) + images * _IMAGE)


def messages(usage: Usage, more: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The Messages API counts what was read from the cache and written to it apart from the rest."""
    return {
        "input_tokens": max(0, usage.prompt - usage.cached - usage.cache_write),
        "cache_creation_input_tokens": usage.cache_write,
        "cache_read_input_tokens": usage.cached,
        "output_tokens": usage.completion,
        **({"output_tokens_details": {"thinking_tokens": usage.reasoning}} if usage.reasoning else {}),
        **(more or {}),
    }


def chat(usage: Usage, more: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Chat Completions counts them within the prompt."""
    details = {"cached_tokens": usage.cached}
    if usage.cache_write:
        details["cache_write_tokens"] = usage.cache_write
    return {
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.completion,
        "total_tokens": usage.total,
        "prompt_tokens_details": details,
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
        **(more or {}),
    }


def responses(usage: Usage, more: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """As Chat Completions, under other names."""
    details = {"cached_tokens": usage.cached}
    if usage.cache_write:
        details["cache_write_tokens"] = usage.cache_write
    return {
        "input_tokens": usage.prompt,
        "input_tokens_details": details,
        "output_tokens": usage.completion,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.total,
        **(more or {}),
    }


def _without_data(value: Any) -> tuple[Any, int]:
    """A value without what is not text, and how much of that there was."""
    if isinstance(value, dict):
        found = {key: _without_data(item) for key, item in value.items()}
        return {key: kept for key, (kept, _count) in found.items()}, sum(count for _kept, count in found.values())
    if isinstance(value, list):
        items = [_without_data(item) for item in value]
        return [kept for kept, _count in items], sum(count for _kept, count in items)
    if isinstance(value, str) and len(value) > _NOT_COUNTED and _DATA.match(value):
        return "", 1
    return value, 0
