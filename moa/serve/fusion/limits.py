"""How long a model may go on calling server tools within one request. On a limit pending calls run, then one closing call without tools.

Source: openrouter.ai/openapi.yaml, `max_tool_calls` of the Responses request and `stop_server_tools_when`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from moa.serve.fusion.parameters import Fields, invalid

if TYPE_CHECKING:
    from agent.llm.messages import ToolCallPart

MOST_STEPS = 30

# What each condition compares; the reference names the first, clients in the field write the second.
_VALUES = {
    "step_count_is": ("step_count", "count"),
    "has_tool_call": ("tool_name", "name"),
    "max_tokens_used": ("max_tokens", "tokens"),
    "max_cost": ("max_cost_in_dollars", "max_cost"),
    "finish_reason_is": ("finish_reason", "reason"),
}


@dataclass(slots=True)
class Spent:
    """What one request has used so far: steps that called server tools, tokens and US dollars of everything, and the last finish reason."""

    steps: int = 0
    tokens: int = 0
    usd: float = 0.0
    finish: str = ""


@dataclass(frozen=True, slots=True)
class Limits:
    """`conditions` are (kind, value), any one of which ends it; where there are some, `steps` is not asked."""

    steps: int = MOST_STEPS
    conditions: tuple[tuple[str, Any], ...] = ()

    def reached(self, spent: Spent, calls: Sequence[tuple[ToolCallPart, str]]) -> bool:
        """Whether the next call of the model is the closing one. `calls` are those that were just made, each with its tool's type."""
        if not self.conditions:
            return spent.steps >= self.steps
        for kind, value in self.conditions:
            met = (
                spent.steps >= value
                if kind == "step_count_is"
                else any(value in (call.name, named) for call, named in calls)
                if kind == "has_tool_call"
                else spent.tokens >= value
                if kind == "max_tokens_used"
                else spent.usd >= value
                if kind == "max_cost"
                else spent.finish == value
            )
            if met:
                return True
        # Nobody wants a request that never ends.
        return spent.steps >= MOST_STEPS


def read_limits(body: dict[str, Any], *, responses: bool) -> Limits:
    """Those of a body. `responses`: the wire on which `max_tool_calls` is one. Raises UsageError."""
    steps = MOST_STEPS
    if responses:
        steps = min(MOST_STEPS, Fields(body, "request").whole("max_tool_calls", MOST_STEPS, 1, None))
    found = body.get("stop_server_tools_when")
    if found is None:
        return Limits(steps)
    if not isinstance(found, list) or not found:
        raise invalid("stop_server_tools_when", "is not a list of conditions", "write at least one, or leave it out")
    return Limits(steps, tuple(_condition(each, f"stop_server_tools_when[{at}]") for at, each in enumerate(found)))


def _condition(value: Any, where: str) -> tuple[str, Any]:
    fields = Fields(value, where)
    kind = fields.text("type") or ""
    if kind not in _VALUES:
        raise fields.error("type", f"is {kind!r}", f"use one of {', '.join(_VALUES)}")
    names = _VALUES[kind]
    key = next((name for name in names if name in fields.data), names[0])
    limit: Any
    if kind in ("has_tool_call", "finish_reason_is"):
        limit = fields.text(key)
    elif kind == "max_cost":
        limit = fields.number(key, 0, 1e9)
    else:
        limit = fields.whole_or_none(key, 1)
    fields.done()
    if limit is None:
        raise fields.error(key, "is missing", "say when it is reached")
    return kind, limit
