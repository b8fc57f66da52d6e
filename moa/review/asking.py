"""One counsel that no call of the main model waits for: on a change (`/review`), on a plan (`/plan`)."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from agent.errors import UsageError
from agent.process import depth
from moa.counsel import keep
from moa.counsel.cadence import Decision

if TYPE_CHECKING:
    from agent.events import Emit
    from agent.llm.accounting import CallContext
    from agent.llm.messages import Message
    from agent.session.session import Session
    from moa.armed import Armed
    from moa.counsel.counsel import Counsel
    from moa.counsel.record import CounselRecord, FindingRecord
    from moa.panel.tasks import Task
    from moa.preset.preset import Preset


def ready(moa: Armed, name: str) -> Preset:
    """The preset that is to be asked. Raises UsageError where it can't be, before anything is read or sent."""
    from moa.arming import check

    if level := depth.depth():
        text = f"there is no panel to ask: this process is inside of a panel already ({depth.VARIABLE}={level})"
        raise UsageError(text, kind="recursion")
    preset = moa.load(name)
    check(moa, preset)
    if moa.main() is None:
        raise UsageError("no main model is named, and it compares what the panel says", remedy="choose one with /model")
    return preset


async def ask(
    moa: Armed,
    preset: Preset,
    task: Task,
    *,
    session: Session,
    history: Sequence[Message],
    emit: Emit,
    reason: str,
    account: CallContext | None = None,
    material: str | None = None,
    findings: Callable[[Counsel], tuple[FindingRecord, ...]] = lambda _counsel: (),
) -> tuple[Counsel, CounselRecord]:
    """Ask the panel, and keep what it said as a record of the session; also what was paid for where it is stopped.

    `account` is that of the turn to which it belongs; None: it is no part of one.
    """
    from moa.counsel.record import CounselRecord

    main = moa.main()
    assert main is not None  # `ready` has seen to it
    council = moa.council(preset.name)
    if account is None:
        turn = f"{session.id}:{task.name}-{secrets.token_hex(4)}"
        account = replace(moa.host.account, turn=turn, iteration=1)
    number = session.turn_count()

    def kept(counsel: Counsel) -> CounselRecord:
        found = findings(counsel) if counsel.answers else ()
        entry = keep.full(
            counsel, iteration=account.iteration, turn=number, guidance=None, receipt=None, findings=found
        )
        session.add_record(entry, turn=account.turn, iteration=account.iteration)
        emit(entry)
        return CounselRecord.read(entry.data)

    council.begin_turn()
    moa.aside = council
    try:
        counsel = await council.take(
            history,
            main=main,
            context=account,
            decision=Decision(True, "plan" if task.name == "plan" else "review", reason),
            emit=emit,
            tools=preset.tools_at != "never",
            task=task,
            material=material,
        )
    finally:
        moa.aside = None
        await council.close()
        broken, council.broken_off = council.broken_off, None
        if broken is not None:
            kept(broken)
    moa.last = counsel
    return counsel, kept(counsel)
