"""Taking counsel, from start to end: view, panel (in layers), aggregation, and what is said about it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from agent import events
from agent.llm.accounting import Cap
from agent.llm.money import Total
from agent.llm.request import ModelRef, Request
from moa.analyst import Analyst
from moa.cadence import Decision
from moa.counsel import Counsel
from moa.panel import Panel, Round
from moa.seat import MemberRunner

if TYPE_CHECKING:
    from agent.llm.accounting import CallContext
    from agent.llm.client import ModelClient
    from agent.llm.messages import Message
    from agent.plugin import Emit
    from moa.aggregator import RungMemory
    from moa.preset import Member, Preset

SHARE = "counsel"
WARM_S = 0.05
"""So long after the members were asked (their requests are out by then), what the analysis needs is imported while they think."""


class Council:
    """The panel and the aggregator of one preset over a conversation. One counsel at a time; `close` ends what is still running."""

    def __init__(
        self,
        preset: Preset,
        client: ModelClient,
        *,
        memory: RungMemory,
        run_member: MemberRunner | None = None,
        brief: str = "",
    ) -> None:
        self.preset = preset
        self.panel = Panel(preset, client, run_member)
        self._client = client
        self._analyst = Analyst(preset, client, memory)
        self._brief = brief
        self._lock = asyncio.Lock()
        self._count = 0
        self._said: set[str] = set()
        self.broken_off: Counsel | None = None
        """A counsel that was stopped in the middle: its calls have been paid for, so it is recorded, too."""

    def go(self) -> bool:
        """Go on with what is in: the answers so far, or the answers as they are where they are being compared. False where nothing waits."""
        return self.panel.go() or self._analyst.go()

    def begin_turn(self) -> None:
        """A new turn: what was said in the last one may be said again."""
        self._said.clear()

    async def close(self) -> None:
        """End every call that is still out."""
        await self.panel.close()

    async def take(
        self,
        history: Sequence[Message],
        *,
        main: ModelRef,
        context: CallContext,
        decision: Decision,
        emit: Emit,
        draft: str | None = None,
        question: str | None = None,
        tools: bool = False,
    ) -> Counsel:
        """Take counsel on a history (system message and all; members see none of that).

        `context` is the main call's: same session, run, turn and caps. `draft`: a reply that is about to end the turn, to be
        reviewed. `question`: what the main model asks through its tool. `tools`: members may use theirs. Never raises, except when
        it is cancelled: what went wrong is in the result, and said with `emit`.
        """
        started = time.monotonic()
        async with self._lock:
            self._count += 1
            counsel = Counsel(
                id=f"{context.turn}/c{self._count}",
                preset=self.preset.name,
                step=context.iteration,
                decision=decision,
                members=self.preset.members,
                calling=self._context(context),
                main=main,
                messages=len(history),
                draft=draft,
                question=question,
            )
            try:
                await self._take(counsel, history, emit, tools=tools)
            except asyncio.CancelledError:
                counsel.warnings.append("stopped before its end")
                counsel.cost = counsel.cost.plus(None)
                counsel.duration_s = time.monotonic() - started
                self.broken_off = counsel
                raise
            except Exception as error:
                # Counsel never breaks a turn: a fault of ours costs the advice, not the answer.
                counsel.warnings.append(f"counsel broke off ({type(error).__name__}: {error})")
                await self.panel.close()
        counsel.duration_s = time.monotonic() - started
        self._tell(counsel, emit)
        return counsel

    async def again(self, earlier: Counsel, *, emit: Emit) -> Counsel:
        """A new analysis of the answers of an earlier counsel, without asking its panel. Never raises, as `take`."""
        started = time.monotonic()
        async with self._lock:
            self._count += 1
            counsel = replace(
                earlier,
                id=f"{earlier.calling.turn}/c{self._count}",
                decision=Decision(True, "again", "asked for with /moa again"),
                aggregation=None,
                warnings=[],
                cost=Total(),
            )
            counsel.seed = earlier.seed + 1  # another order: a judge's preference for a place shows
            try:
                await self._aggregate(counsel, emit)
            except Exception as error:
                counsel.warnings.append(f"the analysis broke off ({type(error).__name__}: {error})")
        counsel.duration_s = time.monotonic() - started
        self._tell(counsel, emit)
        return counsel

    # From the question to the answers

    async def _take(self, counsel: Counsel, history: Sequence[Message], emit: Emit, *, tools: bool) -> None:
        from agent.llm.tokens import estimate_tokens
        from moa import view

        rendered: dict[tuple[int | None, int], tuple[Message, ...]] = {}
        earlier: list[tuple[str, str]] = []

        def seen_by(model: ModelRef, reserve: int) -> tuple[Message, ...]:
            window = self._client.facts(model).context_window
            key = (window, reserve if window else 0)
            if key not in rendered:
                rendered[key] = view.render(history, brief=self._brief, window_tokens=window, reserve_tokens=reserve)
            return rendered[key]

        def request(member: Member) -> Request:
            seat = member.reference
            tail = view.tail(
                seat.role,
                draft=counsel.draft,
                earlier=earlier,
                question=counsel.question,
                decide=self.preset.aggregate == "vote",
            )
            return Request(
                model=member.model,
                messages=seen_by(member.model, seat.max_tokens + estimate_tokens(tail)),
                tail=tail,
                max_tokens=seat.max_tokens,
                temperature=seat.temperature,
                reasoning=seat.reasoning,
            )

        warm = asyncio.get_running_loop().call_later(WARM_S, _warm) if self.preset.aggregate == "analysis" else None
        spent: list[int | None] = []
        only: tuple[str, ...] | None = None
        result: Round | None = None
        for layer in range(1, self.preset.layers + 1):
            latest = await self.panel.consult(
                request,
                context=counsel.calling,
                step=counsel.step,
                group=counsel.id,
                emit=emit,
                tools=tools,
                only=only,
                layer=layer,
            )
            spent += [answer.cost_nano for answer in latest.answers]
            spent += [failure.cost_nano for failure in latest.failures]
            result = latest if result is None else _merged(result, latest)
            if latest.hurried or not latest.answers:
                break
            earlier = [(f"Answer {chr(64 + n)}", answer.text) for n, answer in enumerate(latest.answers, 1)]
            only = tuple(answer.slot for answer in latest.answers)
        if warm is not None:
            warm.cancel()
        assert result is not None  # a preset has at least one layer
        counsel.answers, counsel.failures = result.answers, result.failures
        counsel.late, counsel.running = result.late, result.running
        counsel.cost = Total.of([*spent, *(None for _slot in result.running)])
        counsel.seed = self.preset.seed + counsel.step
        if counsel.answers:
            reserve = self.preset.aggregator.max_tokens + sum(estimate_tokens(a.text) for a in counsel.answers)
            aggregator = self.preset.aggregator_model(counsel.main)
            counsel.view = seen_by(aggregator, reserve) if self.preset.aggregate == "analysis" else ()
            await self._aggregate(counsel, emit)

    # From the answers to one word

    async def _aggregate(self, counsel: Counsel, emit: Emit) -> None:
        from moa import aggregator

        preset = self.preset
        if preset.aggregate == "raw":
            counsel.aggregation = aggregator.raw(counsel.answers)
        elif preset.aggregate == "vote":
            counsel.aggregation = aggregator.vote(counsel.answers)
        else:
            counsel.aggregation = await self._analyst.run(counsel, emit, self._say)
            if counsel.aggregation.calls:
                counsel.cost = counsel.cost.plus(counsel.aggregation.cost_nano)
        counsel.warnings.extend(counsel.aggregation.warnings)

    # What is said about it

    def _context(self, context: CallContext) -> CallContext:
        """The main call's account, with the preset's own share of a turn as a further cap."""
        from agent.llm.money import nano_from_usd

        preset = self.preset
        if preset.turn_usd is None and preset.turn_tokens is None:
            return replace(context, share=SHARE)
        nano = None if preset.turn_usd is None else nano_from_usd(preset.turn_usd)
        cap = Cap("share", f"[budget] in {preset.source}", nano, preset.turn_tokens)
        return replace(context, share=SHARE, caps=(*context.caps, cap))

    def _tell(self, counsel: Counsel, emit: Emit) -> None:
        """Degradations, each once a turn: k of n, why, and which rung."""
        failed = "; ".join(f"{_who(self.preset, f.slot)}: {f.kind}" for f in counsel.failures)
        if not counsel.answers:
            why = failed or "; ".join(counsel.warnings) or "nobody had answered"
            self._say("warning", "counsel_failed", f"no counsel ({why}); the main model goes on alone", emit)
            return
        if counsel.failures:
            text = f"counsel from {len(counsel.answers)} of {len(counsel.members)} ({failed})"
            self._say("warning", "counsel_degraded", text, emit)
        found = counsel.aggregation
        if found is not None and found.error is not None:
            text = f"the aggregator failed ({found.error[0]}): rung {found.rung}"
            self._say("warning", "aggregator_failed", text, emit)
        for warning in counsel.warnings:
            self._say("info", "counsel_warning", warning, emit)

    def _say(self, level: Any, code: str, text: str, emit: Emit) -> None:
        if text not in self._said:
            self._said.add(text)
            emit(events.Notice(source="moa", level=level, code=code, text=text))


def _warm() -> None:
    """Import and build what comes after the answers: about 25 ms that nobody has to wait for."""
    import random  # noqa: F401

    from moa import aggregator, guidance  # noqa: F401
    from moa.analysis import Analysis

    Analysis.model_rebuild()


def _who(preset: Preset, slot: str) -> str:
    return next((member.label for member in preset.members if member.slot == slot), slot)


def _merged(first: Round, further: Round) -> Round:
    """A further layer's answers in place of the earlier ones of the same seats; who failed before stays failed."""
    answers = {answer.slot: answer for answer in (*first.answers, *further.answers)}
    failures = {failure.slot: failure for failure in (*first.failures, *further.failures)}
    return Round(
        answers=tuple(answers[slot] for slot in sorted(answers)),
        failures=tuple(failure for slot, failure in sorted(failures.items()) if slot not in answers),
        late=first.late,
        running=further.running,
        skipped=first.skipped,
        hurried=further.hurried,
    )
