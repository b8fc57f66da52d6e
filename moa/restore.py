"""What earlier processes of a session left: the last counsel and the receipts, out of the session's own records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from agent.llm.money import NANO, Total
from agent.llm.request import ModelRef
from moa.cadence import Decision, Receipts
from moa.counsel import Counsel
from moa.outcome import Answer
from moa.record import KIND, REPLAYED

if TYPE_CHECKING:
    from agent.llm.accounting import CallContext
    from agent.llm.messages import Message
    from agent.session import Session
    from moa.preset import Preset


def taken(session: Session) -> list[dict[str, Any]]:
    """The records of counsels that were really taken, oldest first."""
    return [data for data in session.records(KIND) if data.get("trigger") != REPLAYED]


def receipts(session: Session, into: Receipts) -> None:
    """Fill the receipts of a session that goes on, so that what a skipped counsel saved is estimated from all of its counsels."""
    for data in session.records(KIND):
        decision = Decision(data["trigger"] != REPLAYED, data["trigger"], str(data.get("reason", "")))
        turn, step = str(data.get("id", "")).rpartition("/")[0], int(data.get("iteration", 0))
        if decision.take:
            into.taken(turn, step, decision, _total(data.get("cost") or {}), float(data.get("duration_s") or 0.0))
        else:
            into.skipped(turn, step, decision)


def counsel(
    data: Mapping[str, Any], preset: Preset, *, account: CallContext, history: Sequence[Message], main: ModelRef
) -> Counsel:
    """A recorded counsel as a value whose answers can be analysed anew. `history` is the session's; the panel saw the beginning of it.

    Raises ValueError or KeyError where the record lacks what that needs (an older version wrote it).
    """
    from moa import view

    seen = history[: int(data["messages"])]
    answers = tuple(_answer(member) for member in data["members"])
    step = int(data["iteration"]) - int(data["age"])
    return Counsel(
        id=str(data["id"]),
        preset=str(data["preset"]),
        step=step,
        decision=Decision(True, data["trigger"], str(data.get("reason", ""))),
        members=preset.members,
        calling=replace(account, purpose="reference", turn=str(data["id"]).rpartition("/")[0], iteration=step),
        main=ModelRef.parse(data["main"]) if data.get("main") else main,
        messages=len(seen),
        view=view.render(seen),
        answers=answers,
        late=tuple(str(late["slot"]) for late in data.get("late", ())),
        seed=int(data.get("seed") or preset.seed),
        draft=data.get("draft"),
        question=data.get("question"),
        cost=_total(data.get("cost") or {}),
        duration_s=float(data.get("duration_s") or 0.0),
    )


def _answer(member: Mapping[str, Any]) -> Answer:
    return Answer(
        slot=str(member["slot"]),
        model_requested=str(member["model_requested"]),
        model_served=str(member["model_served"]),
        text=str(member["text"]),
        call_id=str(member["call_id"]),
        step=int(member["step"]),
        role=member.get("role"),
        incomplete=bool(member.get("incomplete")),
        duration_s=float(member.get("duration_s") or 0.0),
    )


def _total(cost: Mapping[str, Any]) -> Total:
    usd = cost.get("usd")
    if usd is None:
        return Total.of([None])
    return Total(round(float(usd) * NANO), 1, 1 if cost.get("lower_bound") else 0)
