"""The reference models, run side by side.

Nobody waits for more than is needed: counsel goes on when the quorum is in and the grace is over, and a member that is still at work
then keeps working. Its late answer joins the next counsel where its slot has no fresh one. A slot never has two calls out at once.
There is no polling: the wait ends with an answer, a deadline, or the user's word.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from agent import events
from agent.values import dataclass
from moa.panel.member import MemberRunner, Seat
from moa.panel.outcome import Answer, Failure, Outcome

if TYPE_CHECKING:
    from agent.events import Emit
    from agent.llm.accounting import CallContext
    from agent.llm.client import ModelClient
    from agent.llm.request import Request
    from moa.preset.preset import Member, Preset


@dataclass(frozen=True, slots=True)
class Round:
    """What one round of the panel brought.

    `answers` are in the order of the slots; those whose slot is in `late` were asked for an earlier step (see `Answer.step`).
    `running` names the slots that are still at work, `skipped` those that were not asked because they still were.
    """

    answers: tuple[Answer, ...]
    failures: tuple[Failure, ...]
    late: tuple[str, ...]
    running: tuple[str, ...]
    skipped: tuple[str, ...]
    hurried: bool = False
    """The user said to go on with what was in."""


NOT_NEEDED = "not_needed"
"""The kind of a member that was stopped because its answer could not have changed the result."""

Settled = Callable[[Sequence[Answer], int], bool]
"""Whether the answers that are in settle the matter, whatever so many outstanding ones say."""


class Panel:
    """The seats of one preset over a conversation. One round at a time; `close` ends what is still running."""

    def __init__(self, preset: Preset, client: ModelClient, run_member: MemberRunner | None = None) -> None:
        self.preset = preset
        self.members = preset.members
        self._client = client
        self._run_member = run_member
        self._running: dict[str, tuple[asyncio.Task[Outcome], Seat]] = {}
        self._late: dict[str, Outcome] = {}
        self.broken_off: Round | None = None
        """What had come of a round that was stopped."""
        self._go: asyncio.Future[None] | None = None

    @property
    def running(self) -> tuple[str, ...]:
        """The slots that have a call out."""
        return tuple(slot for slot, (task, _seat) in self._running.items() if not task.done())

    def cancel(self, slot: str) -> bool:
        """Stop one member. False where it is not running."""
        if slot not in self.running:
            return False
        return self._running[slot][0].cancel()

    def go(self) -> bool:
        """Go on with the answers that are in. False where nothing waits."""
        if self._go is None or self._go.done():
            return False
        self._go.set_result(None)
        return True

    async def consult(
        self,
        request: Callable[[Member], Request],
        *,
        context: CallContext,
        step: int,
        group: str,
        emit: Emit,
        tools: bool = False,
        run_member: MemberRunner | None = None,
        only: Sequence[str] | None = None,
        layer: int = 1,
        graded: bool = False,
        settled: Settled | None = None,
    ) -> Round:
        """Ask every free member, and return as soon as enough of them have answered.

        `request` makes each member's call. `context` is whose calls these are (purpose and slot are set here); `step` is stamped on the
        answers, `group` binds the events together. `tools`: members may use theirs this time, by `run_member` (None: the panel's own way).
        `only` limits the round to some slots: a further `layer` asks those that answered before. `graded`: answers begin with how much
        they matter. `settled`: members that it finds superfluous are stopped and named as failures of the kind `not_needed`. Never raises for a member's failure; cancelled, it cancels its members.
        """
        self._collect_finished()
        wanted = [member for member in self.members if only is None or member.slot in only]
        skipped = tuple(member.slot for member in wanted if member.slot in self._running)
        asked = [member for member in wanted if member.slot not in self._running]
        suffix = "" if layer == 1 else f".{layer}"
        runner = run_member or self._run_member
        seats = [self._seat(member, group, suffix, step, emit, graded, runner) for member in asked]
        for seat in seats:  # all of them at once, before any call: the roster is seen first
            seat.announce()
        for member, seat in zip(asked, seats, strict=True):
            allowed = member.reference.tools if tools else ()
            calling = replace(context, purpose="reference", slot=member.slot)
            work = seat.work(request(member), calling, allowed, member.reference.max_tool_calls)
            self._running[member.slot] = (asyncio.create_task(work, name=f"reference {member.slot}"), seat)
        self.broken_off = None
        # Where every seat is still busy with an earlier step there is nobody to ask anew: their answers are what can be had.
        awaited = [member.slot for member in asked] or list(skipped)
        try:
            hurried = await self._wait(awaited, emit, settled)
        except asyncio.CancelledError:
            asked_now = {slot: self._running[slot] for slot in awaited}
            await self.close()
            ended = [_outcome(*each) for each in asked_now.values()]
            answers = tuple(each for each in ended if isinstance(each, Answer))
            failures = tuple(each for each in ended if isinstance(each, Failure))
            self.broken_off = Round(answers, failures, (), (), skipped)
            raise
        return self._close_round(awaited, skipped, hurried)

    async def close(self) -> None:
        """End every call that is still out, and forget late answers. Within a second, because the door closes sockets so."""
        tasks = [task for task, _seat in self._running.values()]
        for task in tasks:
            task.cancel()
        self._running.clear()
        self._late.clear()
        if tasks:
            await asyncio.gather(*tasks, return_exceptions=True)

    # One round

    def _seat(
        self,
        member: Member,
        group: str,
        suffix: str,
        step: int,
        emit: Emit,
        graded: bool,
        run_member: MemberRunner | None,
    ) -> Seat:
        return Seat(
            self._client,
            run_member,
            member=member,
            id=f"{group}/{member.slot}{suffix}",
            group=group,
            step=step,
            timeout_s=self.preset.timeout_s,
            emit=emit,
            graded=graded,
        )

    async def _wait(self, slots: list[str], emit: Emit, settled: Settled | None) -> bool:
        """Until all are in, or the quorum and the grace after it, or the user says go. True where the user did."""
        preset, loop = self.preset, asyncio.get_running_loop()
        self._go = loop.create_future()
        tasks = {self._running[slot][0]: slot for slot in slots}
        quorum = len(tasks) if preset.quorum is None else min(preset.quorum, len(tasks))
        started = loop.time()
        soft: float | None = started + preset.soft_s
        grace: float | None = None
        try:
            while pending := [task for task in tasks if not task.done()]:
                if settled is not None and settled([_answer(task) for task in tasks if _answered(task)], len(pending)):
                    await self._spare(pending, tasks)
                    return False
                now = loop.time()
                if grace is None and sum(_answered(task) for task in tasks) >= quorum:
                    grace = now + preset.grace_s
                if grace is not None and now >= grace:
                    return False
                if soft is not None and now >= soft:
                    soft = None
                    self._say_soft([tasks[task] for task in pending], emit)
                deadline = min((moment for moment in (grace, soft) if moment is not None), default=None)
                waiting: list[asyncio.Future[Any]] = [*pending, self._go]
                await asyncio.wait(
                    waiting,
                    timeout=None if deadline is None else max(0.0, deadline - now),
                    return_when=asyncio.FIRST_COMPLETED,
                )
                if self._go.done():
                    return True
            return False
        finally:
            self._go = None

    async def _spare(self, pending: list[asyncio.Task[Outcome]], slots: dict[asyncio.Task[Outcome], str]) -> None:
        """Stop members whose answers can't change the result any more."""
        for task in pending:
            self._running[slots[task]][1].spared = True
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)

    def _say_soft(self, slots: list[str], emit: Emit) -> None:
        for slot in slots:
            self._running[slot][1].soft_deadline()
        who = ", ".join(self._running[slot][1].member.label for slot in slots)
        text = f"still waiting for {who} after {self.preset.soft_s:g} s; /moa go continues with the answers so far"
        emit(events.Notice(source="moa", level="info", code="soft_deadline", text=text))

    def _close_round(self, awaited: list[str], skipped: tuple[str, ...], hurried: bool) -> Round:
        fresh: dict[str, Outcome] = {}
        for slot in awaited:
            task, seat = self._running[slot]
            if task.done():
                fresh[slot] = _outcome(task, seat)
                del self._running[slot]
        self._collect_finished()
        for slot, (_task, seat) in self._running.items():
            if slot in awaited:
                seat.late = True
        answers: dict[str, Answer] = {}
        failures: list[Failure] = []
        late: list[str] = []
        for slot in (member.slot for member in self.members):
            outcome = fresh.get(slot)
            if isinstance(outcome, Failure):
                failures.append(outcome)
            earlier = self._late.pop(slot, None)
            if isinstance(outcome, Answer):
                answers[slot] = outcome
                if slot in skipped:
                    late.append(slot)
            elif isinstance(earlier, Answer):
                answers[slot] = earlier
                late.append(slot)
            elif isinstance(earlier, Failure) and outcome is None:
                failures.append(earlier)
        running = tuple(slot for slot in self._running)
        return Round(tuple(answers.values()), tuple(failures), tuple(late), running, skipped, hurried)

    def _collect_finished(self) -> None:
        """What came in after its round had ended waits for the next one."""
        for slot, (task, seat) in list(self._running.items()):
            if task.done():
                del self._running[slot]
                self._late[slot] = _outcome(task, seat)


def _outcome(task: asyncio.Task[Outcome], seat: Seat) -> Outcome:
    outcome = seat.never_began() if task.cancelled() else task.result()
    if seat.spared and isinstance(outcome, Failure):
        return replace(outcome, kind=NOT_NEEDED, message="stopped: the others had settled it")
    return outcome


def _answer(task: asyncio.Task[Outcome]) -> Answer:
    found = task.result()
    assert isinstance(found, Answer)
    return found


def _answered(task: asyncio.Task[Outcome]) -> bool:
    return task.done() and not task.cancelled() and isinstance(task.result(), Answer)
