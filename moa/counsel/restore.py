"""What earlier processes of a session left: the last counsel and the receipts, out of the session's own records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from agent.llm.money import NANO, Total
from agent.llm.request import ModelRef
from moa.counsel.cadence import KIND, RECEIPT, REPLAYED, Decision, Receipts
from moa.counsel.counsel import Counsel
from moa.panel.grades import GRADES
from moa.panel.outcome import Answer
from moa.panel.quoting import defused
from moa.panel.tasks import ADVISE, TASKS

if TYPE_CHECKING:
    from agent.llm.accounting import CallContext
    from agent.llm.messages import Message
    from agent.session.session import Session
    from moa.preset.preset import Preset


def taken(session: Session) -> list[dict[str, Any]]:
    """The records of counsels, oldest first."""
    return [data for data in session.records(KIND) if data.get("trigger") != REPLAYED]


def step_of(data: Mapping[str, Any]) -> int:
    """The main-model call whose state a recorded counsel looked at."""
    return int(data["step"] if "step" in data else data["iteration"] - data["age"])


def receipts(session: Session, into: Receipts) -> None:
    """Fill the receipts of a session that goes on, so that what a skipped counsel saved is estimated from all of its counsels."""
    for kind, data in session.records_of(KIND, RECEIPT):
        decision = Decision(kind == KIND and data["trigger"] != REPLAYED, data["trigger"], str(data.get("reason", "")))
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
    from moa.counsel.take import seen
    from moa.panel import briefing

    read = history[: int(data["messages"])]
    answers = tuple(answer(member) for member in data["members"])
    step = step_of(data)
    task = TASKS.get(str(data.get("task")), ADVISE)
    return Counsel(
        id=str(data["id"]),
        preset=str(data["preset"]),
        step=step,
        decision=Decision(True, data["trigger"], str(data.get("reason", ""))),
        members=preset.resolved(main).members,
        calling=replace(account, purpose="reference", turn=str(data["id"]).rpartition("/")[0], iteration=step),
        main=ModelRef.parse(data["main"]) if data.get("main") else main,
        messages=len(read),
        rendering=briefing.Rendering(seen(read, data.get("material")), task=task),
        task=task,
        material=data.get("material"),
        answers=answers,
        late=tuple(str(late["slot"]) for late in data.get("late", ())),
        seed=int(data.get("seed") or preset.seed),
        draft=data.get("draft"),
        question=data.get("question"),
        cost=_total(data.get("cost") or {}),
        duration_s=float(data.get("duration_s") or 0.0),
    )


def answer(member: Mapping[str, Any]) -> Answer:
    """A member's answer as a record has it. Raises KeyError, ValueError, TypeError where something is missing."""
    return Answer(
        slot=str(member["slot"]),
        model_requested=str(member["model_requested"]),
        model_served=str(member["model_served"]),
        text=defused(str(member["text"])),
        call_id=str(member["call_id"]),
        step=int(member["step"]),
        role=member.get("role"),
        incomplete=bool(member.get("incomplete")),
        duration_s=float(member.get("duration_s") or 0.0),
        grade=grade if (grade := member.get("grade")) in GRADES else "note",
    )


def _total(cost: Mapping[str, Any]) -> Total:
    usd = cost.get("usd")
    if usd is None:
        return Total.of([None])
    return Total(round(float(usd) * NANO), 1, 1 if cost.get("lower_bound") else 0)
