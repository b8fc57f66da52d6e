"""A counsel as plain JSON: an entry of the result's `counsel` list and of the session, enough to show it, judge it anew and replay it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agent.events import Record
from agent.llm.money import Total

if TYPE_CHECKING:
    from moa.cadence import Receipt
    from moa.counsel import Counsel
    from moa.outcome import Answer, Failure

KIND = "counsel"
REPLAYED = "replayed"
"""The trigger of the compact entry for a call that went out with an earlier counsel's guidance."""


def full(counsel: Counsel, *, iteration: int, guidance: str | None, receipt: Receipt | None) -> Record:
    """A counsel with the call it was first sent with. `age` counts main-model calls between its taking and that call."""
    found = counsel.aggregation
    analysis = None if found is None or found.analysis is None else found.analysis.model_dump(mode="json")
    data: dict[str, Any] = {
        "id": counsel.id,
        "iteration": iteration,
        "trigger": counsel.decision.trigger,
        "reason": counsel.decision.reason,
        "preset": counsel.preset,
        "asked": len(counsel.members),
        "main": str(counsel.main),
        "messages": counsel.messages,
        "answered": len(counsel.answers),
        "failed": [_failed(failure) for failure in counsel.failures],
        "late": [{"slot": a.slot, "step": a.step} for a in counsel.answers if a.slot in counsel.late],
        "running": list(counsel.running),
        "rung": None if found is None else found.rung,
        "analysis": analysis,
        "guidance": guidance,
        "age": max(0, iteration - counsel.step),
        "duration_s": round(counsel.duration_s, 3),
        "cost": _cost(counsel.cost),
        "members": [_member(answer) for answer in counsel.answers],
        "aggregator": _aggregator(counsel),
        "evidence": [] if found is None else [check._asdict() for check in found.evidence],
        "warnings": list(counsel.warnings),
        "seed": counsel.seed,
        "question": counsel.question,
        "draft": counsel.draft,
        "receipt": None if receipt is None else receipt.as_json(),
    }
    return Record(source="moa", kind=KIND, data=data)


def replayed(counsel: Counsel, *, iteration: int, form: str, guidance: str | None, receipt: Receipt) -> Record:
    """The compact entry: which counsel's guidance went out again, how old it is, in which form (full or line), and the text as sent."""
    data: dict[str, Any] = {
        "id": counsel.id,
        "iteration": iteration,
        "trigger": REPLAYED,
        "reason": receipt.decision.reason,
        "preset": counsel.preset,
        "answered": len(counsel.answers),
        "failed": [],
        "late": [],
        "rung": None if counsel.aggregation is None else counsel.aggregation.rung,
        "analysis": None,
        "guidance": guidance,
        "form": form,
        "age": max(0, iteration - counsel.step),
        "duration_s": 0.0,
        "cost": {"usd": 0.0, "lower_bound": False},
        "receipt": receipt.as_json(),
    }
    return Record(source="moa", kind=KIND, data=data)


def _cost(total: Total) -> dict[str, Any]:
    return {"usd": total.usd, "lower_bound": total.lower_bound}


def _failed(failure: Failure) -> dict[str, Any]:
    return {
        "slot": failure.slot,
        "model": failure.model_requested,
        "kind": failure.kind,
        "message": failure.message,
        "status": failure.status,
        "call_id": failure.call_id,
        "duration_s": round(failure.duration_s, 3),
    }


def _member(answer: Answer) -> dict[str, Any]:
    usage = answer.usage
    return {
        "slot": answer.slot,
        "role": answer.role,
        "model_requested": answer.model_requested,
        "model_served": answer.model_served,
        "text": answer.text,
        "incomplete": answer.incomplete,
        "step": answer.step,
        "prompt_tokens": usage.prompt if usage else None,
        "completion_tokens": usage.completion if usage else None,
        "cost": _cost(Total.of([answer.cost_nano])),
        "duration_s": round(answer.duration_s, 3),
        "call_id": answer.call_id,
    }


def _aggregator(counsel: Counsel) -> dict[str, Any] | None:
    found = counsel.aggregation
    if found is None or not found.calls:
        return None
    return {
        "model_served": found.model_served,
        "calls": list(found.calls),
        "fallback_used": found.fallback_used,
        "error": None if found.error is None else {"kind": found.error[0], "message": found.error[1]},
        "text": found.text,
        "duration_s": round(found.duration_s, 3),
        "cost": _cost(Total.of([found.cost_nano])),
    }
