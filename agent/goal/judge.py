"""Judging a goal: one model, or several that do not know of each other, and what their votes come to."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from agent.errors import UsageError
from agent.goal import prompts
from agent.llm.answers.loose_json import find_object
from agent.llm.errors import BudgetReached, ModelError
from agent.llm.messages import system, user
from agent.llm.request import Request, Schema
from agent.llm.structured import Unreadable, ask_object
from agent.side_work import SideWork

if TYPE_CHECKING:
    from agent.events import Emit
    from agent.llm.accounting import CallContext
    from agent.llm.client import ModelClient
    from agent.llm.stream import Reply
    from agent.plugin import JudgeSeat

Kind = Literal["done", "continue", "blocked", "wait"]
SOURCE = "goal"

UNREADABLE = "unreadable"
KEYS = ("verdict", "reason", "unmet", "wait_s", "done")
"""Of a verdict; `done` is how some models put it."""
PASSING = frozenset({"rate_limited", "overloaded", "connection_failed", "timed_out", "stream_broken", "empty_answer"})
"""Failures that may be over at the next turn; every other one (a key, a name, money, a refusal) will come again."""

WAIT_S, MIN_WAIT_S, MAX_WAIT_S = 60.0, 1.0, 6 * 3600.0
"""Seconds: where a judge says wait and not how long; and the limits of what it may say."""
_NOTHING = frozenset({"", "-", "none", "nothing", "n/a", "na", "null", "[]"})


@dataclass(frozen=True, slots=True)
class Vote:
    """What one judge said, or why it said nothing (`error`: kind and message)."""

    who: str
    kind: Kind = "continue"
    reason: str = ""
    unmet: tuple[str, ...] = ()
    wait_s: float = 0.0
    error: tuple[str, str] | None = None

    def as_json(self) -> dict[str, Any]:
        """For the record of a verdict."""
        if self.error is not None:
            return {"judge": self.who, "error": {"kind": self.error[0], "message": self.error[1]}}
        return {"judge": self.who, "verdict": self.kind, "reason": self.reason, "unmet": list(self.unmet)}


@dataclass(frozen=True, slots=True)
class Ruling:
    """What all votes come to. With `error` none came in, and the others mean nothing; `lasting`: it will not pass by itself."""

    kind: Kind
    reason: str
    unmet: tuple[str, ...] = ()
    wait_s: float = 0.0
    dissent: tuple[str, ...] = ()
    votes: tuple[Vote, ...] = ()
    error: tuple[str, str] | None = None

    @property
    def lasting(self) -> bool:
        """Asking again will not help: the user has to do something."""
        return self.error is not None and self.error[0] not in PASSING and self.error[0] != UNREADABLE


class Bench:
    """The judges of a session."""

    def __init__(self, client: ModelClient) -> None:
        self._client = client

    async def rule(self, seats: Sequence[JudgeSeat], case: str, context: CallContext, emit: Emit) -> Ruling:
        """Ask all of them at once. Never raises but when it is cancelled: what went wrong is in the ruling."""
        group = f"{context.turn}/judge"
        asked = []
        for at, seat in enumerate(seats, 1):
            account = replace(context, purpose="goal_judge", slot=str(at) if len(seats) > 1 else None, share=None)
            asked.append(self._ask(seat, case, account, f"{group}/{at}", group, emit))
        votes = await asyncio.gather(*asked)
        return count(votes)

    async def _ask(self, seat: JudgeSeat, case: str, context: CallContext, id: str, group: str, emit: Emit) -> Vote:
        model = str(seat.model)
        side = SideWork(
            emit,
            source=SOURCE,
            id=id,
            group=group,
            kind="judge",
            label=seat.label,
            model=model,
            role=seat.role,
            spoken=False,
        )
        side.start()
        brief = f"{prompts.JUDGE}\n\nLook above all for this: {seat.role.strip()}" if seat.role else prompts.JUDGE
        request = Request(
            model=seat.model,
            messages=(system(brief), user(case)),
            max_tokens=seat.max_tokens,
            temperature=seat.temperature,
            reasoning=seat.reasoning,
        )
        reply: Reply | None = None
        try:
            async with asyncio.timeout(seat.timeout_s):
                answered = await ask_object(
                    self._client,
                    request,
                    context,
                    schema=Schema("verdict", prompts.SCHEMA),
                    read=lambda text: find_object(text, KEYS)[0],
                    on_event=side.hear,
                )
            vote, reply = read(seat.label, answered.value), answered.reply
        except asyncio.CancelledError:
            side.finish("cancelled")
            raise
        except Unreadable as problem:
            vote = Vote(seat.label, error=(UNREADABLE, f"its answer was not a verdict: {problem}"))
        except TimeoutError:
            vote = Vote(seat.label, error=("timed_out", f"it said nothing within {seat.timeout_s:g} s"))
        except (ModelError, BudgetReached, UsageError) as problem:
            vote = Vote(seat.label, error=(problem.kind, problem.message))
        text = "" if vote.error else f"{vote.kind}: {vote.reason}"
        side.finish("failed" if vote.error else "answered", text=text, error=vote.error, reply=reply)
        return vote


def read(who: str, found: dict[str, Any]) -> Vote:
    """A vote out of a judge's object. What is unclear is `continue`: the work goes on rather than being called done."""
    verdict = str(found.get("verdict", "")).strip().lower()
    if not verdict and isinstance(found.get("done"), bool):
        verdict = "done" if found["done"] else "continue"
    kind: Kind = verdict if verdict in ("done", "continue", "blocked", "wait") else "continue"  # type: ignore[assignment]
    listed = found.get("unmet")
    items = listed if isinstance(listed, list) else [listed] if isinstance(listed, str) else []
    unmet = tuple(text for item in items if (text := str(item).strip()).lower().rstrip(".") not in _NOTHING)
    if kind == "done" and unmet:
        kind = "continue"  # it contradicts itself; what it names has to be looked at
    reason = " ".join(str(found.get("reason") or "").split())[:1_000]
    return Vote(who, kind, reason, unmet[:10], _seconds(found.get("wait_s")) if kind == "wait" else 0.0)


def _seconds(value: object) -> float:
    try:
        seconds = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return WAIT_S
    return min(max(seconds, MIN_WAIT_S), MAX_WAIT_S) if seconds > 0 else WAIT_S


def count(votes: Sequence[Vote]) -> Ruling:
    """The majority, with what the others said. `done` needs more than half of all judges, the silent ones included; everything else more
    than half of those that answered; without that the work goes on."""
    answered = [vote for vote in votes if vote.error is None]
    if not answered:
        errors = [vote.error for vote in votes if vote.error is not None]
        lasting = [error for error in errors if error[0] not in PASSING and error[0] != UNREADABLE]
        # One that may answer next time is reason enough to go on.
        error = lasting[0] if len(lasting) == len(errors) else next(e for e in errors if e not in lasting)
        return Ruling("continue", "", votes=tuple(votes), error=error)
    kind, most = Counter(vote.kind for vote in answered).most_common(1)[0]
    if most * 2 <= (len(votes) if kind == "done" else len(answered)):
        kind = "continue"
    agreeing = [vote for vote in answered if vote.kind == kind]
    others = [vote for vote in answered if vote.kind != kind]
    reason = agreeing[0].reason if agreeing else f"the judges do not agree ({_tally(votes)})"
    if len(votes) > 1 and agreeing:
        reason = f"{reason} ({_tally(votes)})"
    return Ruling(
        kind,
        reason,
        tuple(dict.fromkeys(text for vote in agreeing or others for text in vote.unmet)),
        min((vote.wait_s for vote in agreeing), default=0.0),
        tuple(f"{vote.kind}: {vote.reason}" for vote in others),
        tuple(votes),
    )


def _tally(votes: Sequence[Vote]) -> str:
    counts = Counter("no answer" if vote.error else vote.kind for vote in votes)
    return ", ".join(f"{number} {kind}" for kind, number in counts.most_common())
