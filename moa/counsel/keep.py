"""From a counsel to the record that is kept of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agent.events import Cost, Record
from agent.llm.money import Total
from moa.counsel.cadence import KIND, RECEIPT
from moa.counsel.record import (
    AggregatorRecord,
    CounselRecord,
    FailedRecord,
    FindingRecord,
    LateRecord,
    MemberRecord,
    ProblemRecord,
    QuoteRecord,
    ResultRecord,
    SeatRecord,
)
from moa.counsel.telling import line_of

if TYPE_CHECKING:
    from agent.events import Emit
    from agent.plugin import TurnState
    from moa.counsel.cadence import Receipt, Receipts
    from moa.counsel.counsel import Counsel
    from moa.counsel.delivery import Delivery
    from moa.panel.outcome import Answer, Failure


def full(
    counsel: Counsel,
    *,
    iteration: int,
    turn: int,
    guidance: str | None,
    receipt: Receipt | None,
    delivery: Delivery | None = None,
    findings: tuple[FindingRecord, ...] = (),
) -> Record:
    """A counsel with the call it was sent with, in turn number `turn`, and how it is told; of a review also what it found."""
    reminder = None if delivery is None else delivery.reminder
    found = counsel.aggregation
    kept = CounselRecord(
        id=counsel.id,
        turn=turn,
        iteration=iteration,
        trigger=counsel.decision.trigger,
        reason=counsel.decision.reason,
        preset=counsel.preset,
        asked=len(counsel.members),
        main=str(counsel.main),
        messages=counsel.messages,
        panel=tuple(
            SeatRecord(slot=each.slot, model=str(each.model), role=each.reference.role) for each in counsel.members
        ),
        answered=len(counsel.answers),
        failed=tuple(map(_failed, counsel.failures)),
        late=tuple(LateRecord(slot=a.slot, step=a.step) for a in counsel.answers if a.slot in counsel.late),
        silent=counsel.silent,
        severity=None if counsel.grade == "nothing" else counsel.grade,
        running=tuple(counsel.running),
        rung=None if found is None else found.rung,
        analysis=None if found is None or found.analysis is None else found.analysis.model_dump(mode="json"),
        chosen=None if found is None else found.chosen,
        results=() if found is None else tuple(ResultRecord(**each._asdict()) for each in found.results),
        guidance=guidance,
        withheld=None if delivery is None else delivery.withheld,
        points=() if delivery is None else tuple(point.claim for point in delivery.points),
        reminds=None if reminder is None else reminder.id,
        step=counsel.step,
        duration_s=round(counsel.duration_s, 3),
        cost=_cost(counsel.cost),
        members=tuple(map(_member, counsel.answers)),
        aggregator=_aggregator(counsel),
        evidence=() if found is None else tuple(QuoteRecord(**check._asdict()) for check in found.evidence),
        warnings=tuple(counsel.warnings),
        seed=counsel.seed,
        question=counsel.question,
        draft=counsel.draft,
        task=counsel.task.name,
        material=counsel.material,
        findings=findings,
        receipt=None if receipt is None else receipt.as_json(),
    )
    said = line_of(kept)
    return Record(source="moa", kind=KIND, data=kept.plain(), line=said.line, level=said.level, group=said.group)


def in_turn(
    counsel: Counsel,
    turn: TurnState,
    receipts: Receipts,
    *,
    iteration: int,
    guidance: str | None,
    delivery: Delivery,
) -> Record:
    """A counsel of a turn with the call that it was sent with, and its receipt."""
    receipt = receipts.taken(
        turn.turn, iteration, counsel.decision, counsel.cost, counsel.duration_s, delivery.withheld
    )
    return full(counsel, iteration=iteration, turn=turn.number, guidance=guidance, receipt=receipt, delivery=delivery)


def unsent(counsel: Counsel, turn: TurnState, receipts: Receipts, delivery: Delivery, emit: Emit) -> None:
    """Record a counsel that was paid for, and goes out with no call."""
    entry = in_turn(counsel, turn, receipts, iteration=counsel.step, guidance=None, delivery=delivery)
    turn.session.add_record(entry, turn=turn.turn, iteration=counsel.step)
    emit(entry)


def skipped(receipt: Receipt, *, preset: str) -> Record:
    """The receipt of a call before which no counsel was taken. It stands in the session alone."""
    data: dict[str, Any] = {"iteration": receipt.iteration, "preset": preset, **receipt.as_json()}
    return Record(source="moa", kind=RECEIPT, data=data)


def _cost(total: Total) -> Cost:
    return Cost(usd=total.usd, lower_bound=total.lower_bound)


def _failed(failure: Failure) -> FailedRecord:
    return FailedRecord(
        slot=failure.slot,
        model=failure.model_requested,
        kind=failure.kind,
        message=failure.message,
        status=failure.status,
        cost=_cost(Total.of([failure.cost_nano])),
        call_id=failure.call_id,
        duration_s=round(failure.duration_s, 3),
    )


def _member(answer: Answer) -> MemberRecord:
    usage = answer.usage
    return MemberRecord(
        slot=answer.slot,
        role=answer.role,
        model_requested=answer.model_requested,
        model_served=answer.model_served,
        grade=answer.grade,
        named=answer.named,
        text=answer.text,
        incomplete=answer.incomplete,
        step=answer.step,
        prompt_tokens=usage.prompt if usage else None,
        completion_tokens=usage.completion if usage else None,
        cost=_cost(Total.of([answer.cost_nano])),
        duration_s=round(answer.duration_s, 3),
        call_id=answer.call_id,
    )


def _aggregator(counsel: Counsel) -> AggregatorRecord | None:
    found = counsel.aggregation
    if found is None or not (found.calls or found.error):
        return None
    return AggregatorRecord(
        model_served=found.model_served,
        calls=tuple(found.calls),
        fallback_used=found.fallback_used,
        error=None if found.error is None else ProblemRecord(kind=found.error[0], message=found.error[1]),
        text=found.text,
        prompt_tokens=found.usage.prompt if found.usage else None,
        completion_tokens=found.usage.completion if found.usage else None,
        duration_s=round(found.duration_s, 3),
        cost=_cost(Total.of([found.cost_nano])),
    )
