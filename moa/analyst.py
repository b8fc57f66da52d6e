"""The aggregator's seat: its work under the preset's own times, and the signs of life that faces show."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from agent import events
from agent.llm.money import Total
from agent.llm.request import ModelRef
from moa.seat import Pulse

if TYPE_CHECKING:
    from agent.llm.client import ModelClient
    from agent.plugin import Emit
    from moa.aggregator import Aggregation, RungMemory
    from moa.counsel import Counsel
    from moa.preset import Preset

Say = Callable[[Any, str, str, "Emit"], None]

SMALL_TOKENS = 600
"""An aggregator with no more room than this is held to the small schema, which such an answer can carry whole."""


class Analyst:
    """Who compares the answers of one preset's panel."""

    def __init__(self, preset: Preset, client: ModelClient, memory: RungMemory) -> None:
        self._preset = preset
        self._client = client
        self._memory = memory
        self._go: asyncio.Future[None] | None = None

    def go(self) -> bool:
        """Go on with the answers as they are. False where nothing is being compared."""
        if self._go is None or self._go.done():
            return False
        self._go.set_result(None)
        return True

    async def run(self, counsel: Counsel, emit: Emit, say: Say) -> Aggregation:
        """Have a counsel's answers compared. `say(level, code, text, emit)` tells the user. Raises only when it is cancelled, or for a fault of ours."""
        from moa.aggregator import AggregatorSpec, aggregate

        seat, model = self._preset.aggregator, self._preset.aggregator_model(counsel.main)
        spec = AggregatorSpec(
            model=model,
            fallback=ModelRef.parse(self._preset.fallback) if self._preset.fallback else None,
            temperature=seat.temperature,
            reasoning=seat.reasoning,
            max_tokens=seat.max_tokens,
            role=seat.role,
        )
        pulse = Pulse(f"{counsel.id}/aggregator", emit)
        called = len(counsel.answers) > 1  # a single answer has nothing to be compared with
        name = model.model.rpartition("/")[2]
        if called:
            emit(
                events.SideStarted(
                    source="moa",
                    id=pulse.id,
                    group=counsel.id,
                    kind="aggregator",
                    label=name,
                    model=str(model),
                    role=seat.role,
                    go="/moa go",
                )
            )
        work = asyncio.create_task(
            aggregate(
                self._client,
                replace(counsel.calling, purpose="aggregator"),
                spec=spec,
                view=counsel.view,
                answers=counsel.answers,
                draft=counsel.draft,
                question=counsel.question,
                seed=counsel.seed,
                on_event=pulse.on_event,
                memory=self._memory,
                small=seat.max_tokens <= SMALL_TOKENS,
            )
        )
        try:
            found = await self._in_time(work, pulse, name, counsel, emit, say)
        except BaseException as error:
            if called:
                emit(_stopped(pulse.id, error))
            raise
        if called:
            emit(_finished(pulse.id, found))
        return found

    async def _in_time(
        self, work: asyncio.Task[Aggregation], pulse: Pulse, name: str, counsel: Counsel, emit: Emit, say: Say
    ) -> Aggregation:
        """The analysis, under the preset's own times: past `soft_s` it is said, `go` and `timeout_s` go on with the raw answers."""
        from moa.aggregator import raw

        preset = self._preset
        self._go = asyncio.get_running_loop().create_future()
        try:
            soft = min(preset.soft_s, preset.timeout_s)
            either: set[asyncio.Future[Any]] = {work, self._go}
            await asyncio.wait(either, timeout=soft, return_when=asyncio.FIRST_COMPLETED)
            if not work.done() and not self._go.done():
                pulse.beat("soft_deadline")
                text = f"the aggregator {name} has not answered after {soft:g} s; /moa go goes on with the raw answers"
                say("info", "soft_deadline", text, emit)
                rest = preset.timeout_s - soft
                await asyncio.wait(either, timeout=rest, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                return work.result()
            hurried = self._go.done()
        finally:
            self._go = None
            if not work.done():
                work.cancel()
                await asyncio.gather(work, return_exceptions=True)
        counsel.cost = counsel.cost.plus(None)  # it was begun, and nobody has said what it cost
        if hurried:
            return replace(raw(counsel.answers), note="went on without the analysis (/moa go)")
        return replace(raw(counsel.answers), error=("timed_out", f"no analysis within {preset.timeout_s:g} s"))


def _finished(id: str, found: Aggregation) -> events.SideFinished:
    cost = Total.of([found.cost_nano])
    error = None if found.error is None else events.ErrorInfo(kind=found.error[0], message=found.error[1])
    return events.SideFinished(
        source="moa",
        id=id,
        outcome="failed" if error else "answered",
        text=found.text,
        error=error,
        call_id=found.calls[-1] if found.calls else None,
        model_served=found.model_served,
        usage=found.usage,
        cost=events.Cost(usd=cost.usd, lower_bound=cost.lower_bound),
        duration_s=found.duration_s,
    )


def _stopped(id: str, error: BaseException) -> events.SideFinished:
    stopped = isinstance(error, asyncio.CancelledError)
    info = None if stopped else events.ErrorInfo(kind="internal", message=f"{type(error).__name__}: {error}")
    return events.SideFinished(source="moa", id=id, outcome="cancelled" if stopped else "failed", error=info)
