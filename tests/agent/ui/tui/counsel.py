"""A counsel as its events and its record tell of it, with hostile text in every place that others fill."""

from __future__ import annotations

from typing import Any

from agent.events import Cost, ErrorInfo, Record, SideFinished, SideProgress, SideStarted
from agent.llm.stream import Usage

GROUP = "t1/c1"
HOSTILE = "[/red][@click=app.quit]x[/] \x1b[31m 層層"


def started(slot: int, model: str = "vendor/model", *, group: str = GROUP, role: str | None = None) -> SideStarted:
    return SideStarted(
        source="moa",
        id=f"{group}/{slot}",
        group=group,
        kind="reference",
        label=f"{slot} {model.rpartition('/')[2]}",
        model=f"openrouter:{model}",
        role=role,
        stop=f"/moa cancel {slot}",
        go="/moa go",
    )


def aggregator(group: str = GROUP) -> SideStarted:
    return SideStarted(
        source="moa", id=f"{group}/aggregator", group=group, kind="aggregator", label="opus", model="x:opus"
    )


def progress(
    slot: int, state: Any = "writing", *, words: str = "", elapsed: float = 1.0, tokens: int = 12, group: str = GROUP
) -> SideProgress:
    return SideProgress(id=f"{group}/{slot}", state=state, elapsed_s=elapsed, tokens=tokens, last_words=words)


def finished(
    slot: int | str,
    outcome: Any = "answered",
    text: str = "It holds.",
    *,
    usd: float | None = 0.0031,
    error: ErrorInfo | None = None,
    group: str = GROUP,
) -> SideFinished:
    return SideFinished(
        id=f"{group}/{slot}",
        outcome=outcome,
        text=text,
        error=error,
        model_served=None if error else "vendor/model-served",
        usage=None if error else Usage(prompt=900, completion=120),
        cost=Cost(usd=usd, lower_bound=usd is None),
        duration_s=8.23,
    )


def data(**changes: Any) -> dict[str, Any]:
    """A record's data, in the shape that `moa.counsel.record` writes."""
    member = {
        "slot": "1",
        "role": "Look for what the plan would break.",
        "model_requested": "openrouter:vendor/model",
        "model_served": "vendor/alpha",
        "text": f"First do A.\nThen B. {HOSTILE}",
        "incomplete": False,
        "step": 3,
        "prompt_tokens": 900,
        "completion_tokens": 120,
        "cost": {"usd": 0.0031, "lower_bound": False},
        "duration_s": 8.2,
        "call_id": "call-1",
    }
    whole: dict[str, Any] = {
        "id": GROUP,
        "iteration": 3,
        "trigger": "iteration",
        "reason": "before every call",
        "preset": "budget",
        "asked": 4,
        "answered": 2,
        "failed": [
            {
                "slot": "3",
                "model": "openrouter:vendor/other",
                "kind": "rate_limited",
                "message": f"slow down {HOSTILE}",
                "status": 429,
                "call_id": "call-3",
                "duration_s": 0.2,
            }
        ],
        "late": [{"slot": "2", "step": 2}],
        "running": ["4"],
        "rung": "json_schema",
        "analysis": {
            "consensus": [f"Do A before B {HOSTILE}"],
            "contradictions": [
                {
                    "topic": "Whether C is needed",
                    "stances": [
                        {"model": "vendor/alpha", "stance": "it is"},
                        {"model": "beta", "stance": "it is not"},
                    ],
                }
            ],
            "partial_coverage": [{"models": ["beta"], "point": "D was tried before"}],
            "unique_insights": [{"model": "vendor/alpha", "insight": "E breaks on Sundays"}],
            "blind_spots": ["Nobody looked at F"],
            "next_steps": ["Run the tests"],
            "evidence": [],
        },
        "guidance": f"Private counsel.\n| Next steps:\n| - Run the tests {HOSTILE}",
        "step": 3,
        "duration_s": 9.4,
        "cost": {"usd": 0.031, "lower_bound": True},
        "members": [
            member,
            {**member, "slot": "2", "model_served": "beta", "incomplete": True, "step": 2, "call_id": "call-2"},
        ],
        "aggregator": {
            "model_served": "opus",
            "calls": ["call-9"],
            "fallback_used": False,
            "error": None,
            "text": "{…}",
            "duration_s": 1.2,
            "cost": {"usd": 0.02, "lower_bound": False},
        },
        "evidence": [
            {
                "path": "consensus[0]",
                "source": "vendor/alpha",
                "quote": "First do A, and then B",
                "verified": True,
                "reason": "",
            },
            {
                "path": "contradictions[0].stances[1]",
                "source": "beta",
                "quote": "C is of no use to anybody",
                "verified": False,
                "reason": "its source does not say this",
            },
            {
                "path": "nowhere",
                "source": "beta",
                "quote": "a quote for nothing at all",
                "verified": False,
                "reason": "its path names no point",
            },
        ],
        "warnings": ["the aggregator is of the same family (x) as 1"],
        "seed": 10,
        "question": None,
        "draft": None,
        "receipt": {"reason": "taken"},
    }
    return {**whole, **changes}


LINE = "counsel budget: 2 of 4 answered · 1 agreed, 1 disputed: Whether C is needed · ≥ $0.031 · 9.4 s"


def record(line: str = LINE, **changes: Any) -> Record:
    whole = data(**changes)
    return Record(source="moa", kind="counsel", data=whole, line=line, level="degraded", group=whole["id"])
