"""One seat on the panel doing one piece of work: the call, its clock, its signs of life, and how it ended."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from agent import events
from agent.errors import UsageError
from agent.llm.errors import BudgetReached, ModelError, Refused
from agent.llm.money import Total
from agent.llm.stream import Reply, Started, StreamEvent, TextDelta
from agent.side_work import SideWork
from moa.panel import grades
from moa.panel.outcome import Answer, Failure, Outcome
from moa.panel.quoting import defused

if TYPE_CHECKING:
    from agent.events import Emit
    from agent.llm.accounting import CallContext
    from agent.llm.client import ModelClient
    from agent.llm.request import Request
    from moa.preset.preset import Member

_OF_TOOLS = (events.ToolStarted, events.ToolProgress, events.ToolFinished, events.Notice)

MemberRunner = Callable[
    ["Request", "CallContext", Sequence[str], int, Callable[[StreamEvent | events.AgentEvent], None]],
    Awaitable[Reply],
]
"""`run_member(request, context, tool_names, max_calls, on_event)`: a model call that may use read-only tools on the way."""


class Seat:
    """One call of one member. `late` is set when counsel went on without it: its end is then told as `late`. `graded`: its answer begins
    with how much it matters, which is taken off (see `moa.panel.grades`)."""

    def __init__(
        self,
        client: ModelClient,
        run_member: MemberRunner | None,
        *,
        member: Member,
        id: str,
        group: str,
        step: int,
        timeout_s: float,
        emit: Emit,
        graded: bool = False,
    ) -> None:
        self.member = member
        self.late = False
        self.spared = False
        self._client = client
        self._run_member = run_member
        self._step = step
        self._timeout_s = timeout_s
        self._emit = emit
        self._graded = graded
        self._side = SideWork(
            emit,
            source="moa",
            id=id,
            group=group,
            kind="reference",
            label=member.label,
            model=str(member.model),
            role=member.reference.role,
            stop=f"/moa cancel {member.slot}",
            go="/moa go",
        )
        self._text: list[str] = []
        self._began = time.monotonic()

    def announce(self) -> None:
        """Tell that this work begins."""
        self._side.start()
        self._side.beat("queued")

    def soft_deadline(self) -> None:
        """Tell that it takes longer than it should."""
        self._side.beat("soft_deadline")

    def never_began(self) -> Failure:
        """The outcome where it was stopped before its task had run at all."""
        failure = self._failure("cancelled", "stopped before it had begun", billed=False)
        self._finish(failure, None)
        return failure

    async def work(self, request: Request, context: CallContext, tools: Sequence[str], max_calls: int) -> Outcome:
        """Make the call. Every end of it is an outcome, being cancelled by the user too; nothing is raised."""
        self._began = time.monotonic()
        outcome: Outcome
        reply: Reply | None = None
        try:
            # The time limit begins when the call leaves its endpoint's queue: waiting in line is not the member's slowness.
            async with asyncio.timeout(None) as clock:
                reply = await self._call(request, context, tools, max_calls, self._listener(clock))
            outcome = self._judge(reply)
        except asyncio.CancelledError:
            outcome = self._failure("cancelled", "stopped before it had answered")
        except TimeoutError:
            outcome = self._cut_off("timed_out", f"timed out after {self._timeout_s:g} s")
        except Refused as error:
            # A text that a filter cut is advice; the words of a refusal are none.
            refused = self._cut_off if error.cut else self._failure
            outcome = refused(error.kind, error.message, error)
        except ModelError as error:
            outcome = self._cut_off(error.kind, error.message, error)
        except (BudgetReached, UsageError) as error:
            outcome = self._failure(error.kind, error.message, billed=False)
        except Exception as error:
            # Counsel never breaks a turn, not even by a fault of ours: it is named as one.
            outcome = self._failure("internal", f"{type(error).__name__}: {error}")
        self._finish(outcome, reply)
        return outcome

    async def _call(
        self,
        request: Request,
        context: CallContext,
        tools: Sequence[str],
        max_calls: int,
        on_event: Callable[[StreamEvent | events.AgentEvent], None],
    ) -> Reply:
        if tools and self._run_member is not None:
            return await self._run_member(request, context, tools, max_calls, on_event)
        return await self._client.complete(request, context, on_event=on_event)

    def _listener(self, clock: asyncio.Timeout) -> Callable[[StreamEvent | events.AgentEvent], None]:
        def on_event(event: StreamEvent | events.AgentEvent) -> None:
            if isinstance(event, TextDelta):  # nearly all are
                self._text.append(event.text)
            elif isinstance(event, _OF_TOOLS):
                self._pass_on(event)
                return
            elif isinstance(event, Started) and clock.when() is None:
                clock.reschedule(asyncio.get_running_loop().time() + self._timeout_s)
            self._side.hear(event)

        return on_event

    def _pass_on(self, event: events.ToolStarted | events.ToolProgress | events.ToolFinished | events.Notice) -> None:
        """What its tools do is shown: what a member reads goes to its endpoint."""
        if isinstance(event, events.Notice):
            self._emit(replace(event, source="moa", text=f"{self.member.label}: {event.text}"))
            return
        if isinstance(event, events.ToolStarted):
            self._side.beat("waiting", f" {event.title} ")
        self._emit(replace(event, source=self._side.id))

    def _judge(self, reply: Reply) -> Outcome:
        """An empty answer is a failure, and a cut-off one is an answer that says so."""
        text = reply.message.text.strip()
        if not text:
            kind, said = "empty_answer", "said nothing"
            return Failure(
                slot=self.member.slot,
                model_requested=str(self.member.model),
                kind=kind,
                message=said,
                call_id=reply.call_id,
                cost_nano=reply.cost_nano,
                duration_s=time.monotonic() - self._began,
            )
        return self._answer(
            text,
            model_served=reply.model_served or self.member.model.model,
            call_id=reply.call_id,
            incomplete=reply.message.incomplete or reply.finish == "length",
            usage=reply.usage,
            cost_nano=reply.cost_nano,
        )

    def _answer(self, text: str, **about: Any) -> Answer:
        grade, said, named = grades.read(text) if self._graded else grades.Graded("note", text, False)
        return Answer(
            slot=self.member.slot,
            model_requested=str(self.member.model),
            text=self._client.redact(defused(said or text)),
            step=self._step,
            role=self.member.reference.role,
            duration_s=time.monotonic() - self._began,
            grade=grade,
            named=named,
            **about,
        )

    def _cut_off(self, kind: str, message: str, error: ModelError | None = None) -> Outcome:
        """The call broke in the middle: what was said so far is paid for, and stands as an incomplete answer."""
        text = "".join(self._text).strip()
        if error is not None and error.partial is not None and len(error.partial.text) > len(text):
            text = error.partial.text.strip()  # it came in one piece, or its end together with the error
        if not text:
            return self._failure(kind, message, error)
        return self._answer(
            text,
            model_served=self.member.model.model,
            call_id=(error.call_id if error else None) or "",
            incomplete=True,
            usage=error.usage if error else None,
            cost_nano=self._cost(error),
        )

    def _failure(self, kind: str, message: str, error: ModelError | None = None, *, billed: bool = True) -> Failure:
        return Failure(
            slot=self.member.slot,
            model_requested=str(self.member.model),
            kind=kind,
            message=message,
            status=error.status if error else None,
            call_id=error.call_id if error else None,
            cost_nano=self._cost(error) if billed else 0,
            duration_s=time.monotonic() - self._began,
        )

    def _cost(self, error: ModelError | None) -> int | None:
        """What a call cost that did not come to its end."""
        if error is None:
            return self._client.lost_cost(self.member.model)
        return error.cost_nano if error.billed else 0

    def _finish(self, outcome: Outcome, reply: Reply | None) -> None:
        cost = Total.of([outcome.cost_nano])
        if isinstance(outcome, Answer):
            self._side.finish(
                "late" if self.late else "answered",
                text="".join(self._text).strip() or outcome.text,
                call_id=outcome.call_id or None,
                model_served=outcome.model_served,
                usage=outcome.usage,
                cost=cost,
                duration_s=outcome.duration_s,
            )
            return
        self._side.finish(
            "cancelled" if outcome.kind == "cancelled" else "failed",
            text="".join(self._text),
            error=(outcome.kind, outcome.message),
            call_id=outcome.call_id,
            usage=reply.usage if reply else None,
            cost=cost,
            duration_s=outcome.duration_s,
        )
