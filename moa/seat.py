"""One seat on the panel doing one piece of work: the call, its clock, its signs of life, and how it ended."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Literal

from agent import events
from agent.errors import UsageError
from agent.llm.errors import BudgetReached, ModelError, StreamBroken, TimedOut
from agent.llm.money import Total
from agent.llm.stream import ReasoningDelta, Reply, Retrying, Started, StreamEvent, TextDelta, ToolCallDelta
from moa.outcome import Answer, Failure, Outcome

if TYPE_CHECKING:
    from agent.llm.accounting import CallContext
    from agent.llm.client import ModelClient
    from agent.llm.request import Request
    from agent.plugin import Emit
    from moa.preset import Member

MemberRunner = Callable[["Request", "CallContext", Sequence[str], int, Callable[[StreamEvent], None]], Awaitable[Reply]]
"""`run_member(request, context, tool_names, max_calls, on_event)`: a model call that may use read-only tools on the way."""

State = Literal["queued", "waiting", "thinking", "writing", "retrying", "soft_deadline"]

# Failures for which no provider bills: refused, or nothing was ever generated.
UNBILLED = frozenset(
    [
        "bad_request",
        "model_not_found",
        "context_overflow",
        "unsupported",
        "auth",
        "payment_required",
        "rate_limited",
        "overloaded",
        "connection_failed",
        "budget",
    ]
)


class Pulse:
    """SideProgress events, at most eight in any second; what comes in between is folded into the next one."""

    RATE = 8

    def __init__(self, id: str, emit: Emit) -> None:
        self.id = id
        self.tokens = 0
        self._emit = emit
        self._started = time.monotonic()
        self._sent: deque[float] = deque(maxlen=self.RATE)
        self._state: State | None = None
        self._words = ""

    def beat(self, state: State, words: str = "") -> None:
        """Say where the work stands. A change of state goes out at once, further words not before an eighth of a second has passed."""
        if words:
            self.tokens += 1
            # A bounded tail: the whole text is the seat's to keep, and no face shows more than a line of it.
            self._words = (self._words + words)[-240:]
        now = time.monotonic()
        if self._sent and state == self._state and now - self._sent[-1] < 1 / self.RATE:
            return
        if len(self._sent) == self.RATE and now - self._sent[0] < 1:
            return
        self._state = state
        self._sent.append(now)
        self._emit(
            events.SideProgress(
                source="moa",
                id=self.id,
                state=state,
                elapsed_s=now - self._started,
                tokens=self.tokens,
                last_words=one_line(self._words),
            )
        )

    def on_event(self, event: StreamEvent) -> None:
        """A stream event as a sign of life."""
        match event:
            case Started():
                self.beat("waiting")
            case ReasoningDelta():
                self.beat("thinking", event.text)
            case TextDelta():
                self.beat("writing", event.text)
            case ToolCallDelta():
                self.beat("writing")
            case Retrying():
                self.beat("retrying")
            case _:
                pass


def one_line(text: str) -> str:
    """The tail of a model's words for a status line: one line, nothing but printable characters."""
    flat = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return flat[-120:]


class Seat:
    """One call of one member. `late` is set when counsel went on without it: its end is then told as `late`."""

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
    ) -> None:
        self.member = member
        self.late = False
        self._client = client
        self._run_member = run_member
        self._id = id
        self._group = group
        self._step = step
        self._timeout_s = timeout_s
        self._emit = emit
        self._pulse = Pulse(id, emit)
        self._text: list[str] = []
        self._began = time.monotonic()

    def announce(self) -> None:
        """Tell that this work begins."""
        member = self.member
        self._emit(
            events.SideStarted(
                source="moa",
                id=self._id,
                group=self._group,
                kind="reference",
                label=member.label,
                model=str(member.model),
                role=member.reference.role,
                stop=f"/moa cancel {member.slot}",
                go="/moa go",
            )
        )
        self._pulse.beat("queued")

    def soft_deadline(self) -> None:
        """Tell that it takes longer than it should."""
        self._pulse.beat("soft_deadline")

    def never_began(self) -> Failure:
        """The outcome where it was stopped before its task had run at all."""
        failure = self._failure("cancelled", "stopped before it had begun", unbilled=True)
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
            outcome = self._cut_off("timed_out", f"no end within {self._timeout_s:g} s")
        except (StreamBroken, TimedOut) as error:
            outcome = self._cut_off(error.kind, error.message, error)
        except ModelError as error:
            outcome = self._failure(error.kind, error.message, error)
        except (BudgetReached, UsageError) as error:
            outcome = self._failure(error.kind, error.message)
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
        on_event: Callable[[StreamEvent], None],
    ) -> Reply:
        if tools and self._run_member is not None:
            return await self._run_member(request, context, tools, max_calls, on_event)
        return await self._client.complete(request, context, on_event=on_event)

    def _listener(self, clock: asyncio.Timeout) -> Callable[[StreamEvent], None]:
        def on_event(event: StreamEvent) -> None:
            if isinstance(event, Started) and clock.when() is None:
                clock.reschedule(asyncio.get_running_loop().time() + self._timeout_s)
            elif isinstance(event, TextDelta):
                self._text.append(event.text)
            self._pulse.on_event(event)

        return on_event

    def _judge(self, reply: Reply) -> Outcome:
        """An empty answer is a failure, and a cut-off one is an answer that says so."""
        text = reply.message.text.strip()
        if not text:
            kind = "refusal" if reply.finish == "refusal" else "empty_answer"
            said = "declined without a word" if kind == "refusal" else "said nothing"
            return Failure(
                slot=self.member.slot,
                model_requested=str(self.member.model),
                kind=kind,
                message=said,
                call_id=reply.call_id,
                cost_nano=reply.cost_nano,
                duration_s=time.monotonic() - self._began,
            )
        return Answer(
            slot=self.member.slot,
            model_requested=str(self.member.model),
            model_served=reply.model_served or self.member.model.model,
            text=text,
            call_id=reply.call_id,
            step=self._step,
            role=self.member.reference.role,
            incomplete=reply.message.incomplete or reply.finish == "length",
            usage=reply.usage,
            cost_nano=reply.cost_nano,
            duration_s=time.monotonic() - self._began,
        )

    def _cut_off(self, kind: str, message: str, error: ModelError | None = None) -> Outcome:
        """The call broke in the middle: what was said so far is paid for, and stands as an incomplete answer."""
        text = "".join(self._text).strip()
        if not text and error is not None and error.partial is not None:
            text = error.partial.text.strip()  # it came in one piece, or together with the error
        if not text:
            return self._failure(kind, message, error)
        return Answer(
            slot=self.member.slot,
            model_requested=str(self.member.model),
            model_served=self.member.model.model,
            text=text,
            call_id=(error.call_id if error else None) or "",
            step=self._step,
            role=self.member.reference.role,
            incomplete=True,
            usage=error.usage if error else None,
            duration_s=time.monotonic() - self._began,
        )

    def _failure(self, kind: str, message: str, error: ModelError | None = None, *, unbilled: bool = False) -> Failure:
        return Failure(
            slot=self.member.slot,
            model_requested=str(self.member.model),
            kind=kind,
            message=message,
            status=error.status if error else None,
            call_id=error.call_id if error else None,
            cost_nano=0 if unbilled or kind in UNBILLED else None,
            duration_s=time.monotonic() - self._began,
        )

    def _finish(self, outcome: Outcome, reply: Reply | None) -> None:
        cost = Total.of([outcome.cost_nano])
        shown = events.Cost(usd=cost.usd, lower_bound=cost.lower_bound)
        if isinstance(outcome, Answer):
            self._emit(
                events.SideFinished(
                    source="moa",
                    id=self._id,
                    outcome="late" if self.late else "answered",
                    text=outcome.text,
                    call_id=outcome.call_id or None,
                    model_served=outcome.model_served,
                    usage=outcome.usage,
                    cost=shown,
                    duration_s=outcome.duration_s,
                )
            )
            return
        self._emit(
            events.SideFinished(
                source="moa",
                id=self._id,
                outcome="cancelled" if outcome.kind == "cancelled" else "failed",
                text="".join(self._text),
                error=events.ErrorInfo(kind=outcome.kind, message=outcome.message),
                call_id=outcome.call_id,
                usage=reply.usage if reply else None,
                cost=shown,
                duration_s=outcome.duration_s,
            )
        )
