"""The aggregator's seat: its work under the preset's own times, and the signs of life that faces show."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from agent import events
from agent.llm.money import Total
from agent.llm.tokens import SAFETY
from agent.side_work import SideWork
from moa.preset.preset import ref

if TYPE_CHECKING:
    from agent.events import Emit
    from agent.llm.client import ModelClient
    from agent.llm.messages import Message
    from agent.llm.request import ModelRef
    from moa.aggregate.blind import View
    from moa.aggregate.result import Aggregation
    from moa.counsel.counsel import Counsel
    from moa.preset.preset import Preset

Say = Callable[[Any, str, str, "Emit"], None]

SMALL_TOKENS = 600
"""An aggregator with no more room than this is held to the small schema, which such an answer can carry whole."""


class Analyst:
    """Who compares the answers of one preset's panel."""

    def __init__(self, preset: Preset, client: ModelClient) -> None:
        self._preset = preset
        self._client = client
        self._go: asyncio.Future[None] | None = None

    def go(self) -> bool:
        """Go on with the answers as they are. False where nothing is being compared."""
        if self._go is None or self._go.done():
            return False
        self._go.set_result(None)
        return True

    def model(self, counsel: Counsel) -> ModelRef:
        """The one that compares the answers of this counsel."""
        from moa.aggregate import comparer

        return comparer.seat(self._preset, self._client, counsel.main, deep=counsel.deep)[0]

    async def run(self, counsel: Counsel, emit: Emit, say: Say) -> Aggregation:
        """Have a counsel's answers compared. `say(level, code, text, emit)` tells the user. Raises only when it is cancelled, or for a fault of ours."""
        from moa.aggregate import comparer
        from moa.aggregate.aggregator import AggregatorSpec, aggregate

        model, seat = comparer.seat(self._preset, self._client, counsel.main, deep=counsel.deep)
        full = counsel.deep or self._preset.aggregator_view == "full"
        spec = AggregatorSpec(
            model=model,
            fallback=ref(self._preset.fallback, counsel.main) if self._preset.fallback else None,
            temperature=seat.temperature,
            reasoning=seat.reasoning,
            max_tokens=seat.max_tokens,
            role=seat.role,
        )
        called = len(counsel.speakers) > 1  # a single answer has nothing to be compared with
        name = model.model.rpartition("/")[2]
        side = SideWork(
            emit if called else _nobody,
            source="moa",
            id=f"{counsel.id}/aggregator",
            group=counsel.id,
            kind="aggregator",
            label=name,
            model=str(model),
            role=seat.role,
            go="/moa go",
            spoken=False,
        )
        side.start()
        work = asyncio.create_task(
            aggregate(
                self._client,
                replace(counsel.calling, purpose="aggregator"),
                spec=spec,
                view=_view(counsel, full=full),
                answers=counsel.speakers,
                in_force=counsel.in_force,
                draft=counsel.draft,
                question=counsel.question,
                task=counsel.task,
                seed=counsel.seed,
                on_event=side.hear,
                small=seat.max_tokens <= SMALL_TOKENS,
            )
        )
        try:
            found = await self._in_time(work, side, name, counsel, emit, say)
        except asyncio.CancelledError:
            side.finish("cancelled")
            raise
        except BaseException as error:
            side.finish("failed", error=("internal", f"{type(error).__name__}: {error}"))
            raise
        side.finish(
            "failed" if found.error else "answered",
            text=found.text,
            error=found.error,
            call_id=found.calls[-1] if found.calls else None,
            model_served=found.model_served,
            usage=found.usage,
            cost=Total.of([found.cost_nano]),
            duration_s=found.duration_s,
        )
        return found

    async def _in_time(
        self, work: asyncio.Task[Aggregation], side: SideWork, name: str, counsel: Counsel, emit: Emit, say: Say
    ) -> Aggregation:
        """The analysis, under the preset's own times: past `soft_s` it is said, `go` and `timeout_s` go on with the raw answers."""
        from moa.aggregate.methods import raw

        preset = self._preset
        self._go = asyncio.get_running_loop().create_future()
        try:
            soft = min(preset.soft_s, preset.timeout_s)
            either: set[asyncio.Future[Any]] = {work, self._go}
            await asyncio.wait(either, timeout=soft, return_when=asyncio.FIRST_COMPLETED)
            if not work.done() and not self._go.done():
                side.beat("soft_deadline")
                text = f"the aggregator {name} has not answered after {soft:g} s; /moa go continues with the answers as they are"
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
        # It was begun, and nobody has said what it cost.
        counsel.cost = counsel.cost.plus(self._client.lost_cost(self.model(counsel)))
        if hurried:
            return replace(raw(counsel.speakers), note="continued without the analysis (/moa go)")
        return replace(raw(counsel.speakers), error=("timed_out", f"no analysis within {preset.timeout_s:g} s"))


def _view(counsel: Counsel, *, full: bool) -> View:
    """How much of the conversation the aggregator gets, for a window of any size."""
    rendering = counsel.rendering
    assert rendering is not None

    def brief(window: int | None, reserve: int) -> tuple[Message, ...]:
        from moa.aggregate import comparer

        room = None if window is None else max(0, int((window - reserve) / SAFETY))
        return comparer.brief(rendering.history, room=room)

    return rendering.for_window if full else brief


def _nobody(_event: events.AgentEvent) -> None:
    """Who hears of a comparison that is none."""
