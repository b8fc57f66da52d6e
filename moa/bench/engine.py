"""Runs all items through all arms, side by side, on this machine."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from agent.llm.accounting import CallContext, Cap
from agent.llm.errors import BudgetReached
from agent.llm.messages import user
from agent.llm.request import Request
from moa.bench import arms
from moa.bench.arms import Arm, Result
from moa.bench.items import Item, Suite
from moa.bench.judge.judge import MAX_TOKENS
from moa.bench.loop import arms as loop_arms
from moa.bench.runs import Run

if TYPE_CHECKING:
    from agent.llm.client import ModelClient
    from agent.llm.money import Total
    from agent.llm.request import ModelRef
    from moa.bench.loop.runner import Loops
    from moa.bench.marking import Marker
    from moa.serve.counsel.lookups import Lookups

SIDE_BY_SIDE, LOOPS_SIDE_BY_SIDE = 16, 6
BATCH = 64
"""Stored answers that are told, and written down, together."""


async def run(
    client: ModelClient,
    suite: Suite,
    chosen: Sequence[Arm],
    kept: Run,
    *,
    loops: Loops | None = None,
    marker: Marker | None = None,
    lookups: Lookups | None = None,
    budget_nano: int | None = None,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> BudgetReached | None:
    """Answer what the run has no line for yet. Returns the budget that ended it, where one did. `loops` are for tasks,
    `marker` for scores that take more than a look, `lookups` for members that look things up.

    Each item is answered in all arms before much later ones are begun, so that a run that was stopped has pairs. Raises UsageError for
    an endpoint or a key that is not there. `progress(done, of)` counts items times arms.
    """
    answering = Answering(client, kept.id, base_of(suite, chosen), loops, marker, budget_nano, lookups)
    work = _Work(answering, suite, chosen, kept, progress)
    try:
        if budget_nano is None and loops is None and _stored(client, chosen):
            await work.told()
        async with asyncio.TaskGroup() as group:
            for _worker in range(min(LOOPS_SIDE_BY_SIDE if loops else SIDE_BY_SIDE, work.left)):
                group.create_task(work.on())
    except* Exception as failures:
        raise first(failures) from None
    finally:
        kept.close()
    return work.stopped


@dataclass(frozen=True, slots=True)
class Answering:
    """How one item of a run is answered in one arm, and scored. `base` is the arm that the others are judged beside."""

    client: ModelClient
    run: str
    base: str | None = None
    loops: Loops | None = None
    marker: Marker | None = None
    budget_nano: int | None = None
    lookups: Lookups | None = None

    async def answer(self, arm: Arm, item: Item, other: Item, donor: Result | None) -> Result:
        """Answer it, with how long that took. `donor` is the other item's result whose guidance a placebo gives. Raises as `arms.answer` does."""
        started = time.perf_counter()
        if self.loops is not None:
            result = await self.loops.answer(arm, item, donor)
        else:
            context = context_of(arm, item, self.run, self.budget_nano)
            result = await arms.answer(self.client, arm, item, context, other=other, lookups=self.lookups)
            if self.instant(arm, item):
                # How long it takes to read an answer from a file says nothing about the model.
                return result
        result.seconds = time.perf_counter() - started
        return result

    def instant(self, arm: Arm, item: Item) -> bool:
        """Whether all of its answers are stored ones."""
        return self.loops is None and all(
            self.client.endpoint(request.model.endpoint).answers for request in arms.requests(arm, item)
        )

    def needs(self, arm: Arm) -> str | None:
        """The arm whose answer to the same item it is judged beside."""
        return self.base if self.marker is not None and arm.name != self.base else None

    async def mark(self, result: Result, arm: Arm, item: Item, against: Result | None) -> None:
        """Score what takes more than a look. Raises as `Marker.mark` does."""
        if self.marker is not None:
            await self.marker.mark(result, item, context_of(arm, item, self.run, self.budget_nano), against)


class _Work:
    """What is left of a run, and what was done."""

    def __init__(
        self,
        answering: Answering,
        suite: Suite,
        chosen: Sequence[Arm],
        kept: Run,
        progress: Callable[[int, int], None],
    ) -> None:
        self.stopped: BudgetReached | None = None
        self._answering, self._kept, self._progress = answering, kept, progress
        donors = {name for name in (answering.base, *(arm.donor for arm in chosen)) if name}
        self._given: dict[tuple[str, str], asyncio.Future[Result]] = {
            (item.id, name): asyncio.get_running_loop().create_future() for item in suite.items for name in donors
        }
        found = set()
        for result in kept.results():
            found.add((result.item, result.arm))
            self._hand_over(result)
        todo = [each for each in order(suite, chosen) if (each[0].id, each[2].name) not in found]
        self._whole = len(suite.items) * len(chosen)
        self.left = len(todo)
        self._waiting = iter(todo)

    async def told(self) -> None:
        """Items whose answers are stored and come at once, in batches; what can't be told so is left for `on`."""
        rest = []
        while batch := list(islice(self._waiting, BATCH)):
            asked = [(arm, item, context_of(arm, item, self._kept.id, None)) for item, _other, arm in batch]
            results = await arms.told(self._answering.client, asked)
            done = [result for result in results if result is not None]
            self._kept.add(*done)
            for result in done:
                self._hand_over(result)
            self.left -= len(done)
            if done:
                self._progress(self._whole - self.left, self._whole)
            rest += [each for each, result in zip(batch, results, strict=True) if result is None]
            await asyncio.sleep(0)
        self._waiting = iter(rest)

    async def on(self) -> None:
        """Answer one after the other, until nothing is left or the budget is reached."""
        for item, other, arm in self._waiting:
            if self.stopped is not None:
                return
            donor = self._given.get((other.id, arm.donor)) if arm.donor else None
            try:
                result = await self._answering.answer(arm, item, other, await donor if donor else None)
                donor = self._given[item.id, base] if (base := self._answering.needs(arm)) else None
                await self._answering.mark(result, arm, item, await donor if donor else None)
            except asyncio.CancelledError:
                if donor is not None and donor.cancelled():
                    return  # the run is over, and who was to give it something was not done
                raise
            except BudgetReached as reached:
                self.stopped = reached
                for waited in self._given.values():
                    waited.cancel()
                return
            self._kept.add(result)
            self._hand_over(result)
            self.left -= 1
            self._progress(self._whole - self.left, self._whole)

    def _hand_over(self, result: Result) -> None:
        given = self._given.get((result.item, result.arm))
        if given is not None and not given.done():
            given.set_result(result)


def _stored(client: ModelClient, chosen: Sequence[Arm]) -> bool:
    """Whether an arm is answered from a file at once."""
    endpoints = [client.endpoint(arm.model.endpoint) for arm in chosen if arm.kind == "solo"]
    return any(endpoint.answers and not endpoint.speed for endpoint in endpoints)


def base_of(suite: Suite, chosen: Sequence[Arm]) -> str | None:
    """The arm whose answers those of all others are compared with, where a suite is judged in pairs."""
    if not suite.pairwise:
        return None
    names = [arm.name for arm in chosen]
    return "solo" if "solo" in names else names[0]


def order(suite: Suite, chosen: Sequence[Arm]) -> Iterator[tuple[Item, Item, Arm]]:
    """What is done after what: each item with the next one of the suite (a placebo gets its counsel) and an arm.

    What needs another result comes behind it.
    """
    items, base = suite.items, base_of(suite, chosen)
    later = [arm for arm in chosen if arm.donor]
    first = sorted((arm for arm in chosen if not arm.donor), key=lambda arm: arm.name != base)
    pairs = list(zip(items, (*items[1:], items[0]), strict=True))
    for at, (item, other) in enumerate(pairs):
        yield from ((item, other, arm) for arm in first)
        if at:
            yield from ((*pairs[at - 1], arm) for arm in later)
    yield from ((*pairs[-1], arm) for arm in later)


def context_of(arm: Arm, item: Item, run_id: str, budget_nano: int | None) -> CallContext:
    """Whose account an item's calls are on: the run is the ledger's session, so its cap holds over a resumed run, too."""
    return CallContext(
        "reference" if arm.kind == "vote" else "main",
        session=session_of(run_id),
        run=run_id,
        turn=f"{arm.name}/{item.id}",
        caps=() if budget_nano is None else (Cap("session", "--budget", budget_nano),),
    )


def session_of(run_id: str) -> str:
    """Under which session the ledger has a run's calls."""
    return f"bench-{run_id}"


def bound(
    client: ModelClient, suite: Suite, chosen: Sequence[Arm], judges: Sequence[ModelRef] = (), passes: int = 1
) -> Total:
    """The most that a whole run can cost: the sum of its calls' upper bounds. Of tasks what they cost if all steps are as large as assumed."""
    from agent.llm.money import Total

    if suite.tasks:
        total = Total()
        for arm in chosen:
            for request, count in loop_arms.requests(arm):
                nano, times = client.bound(request).nano, count * len(suite.items)
                known = 0 if nano is None else times
                total = Total(total.nano + (nano or 0) * times, total.known + known, total.unknown + times - known)
        return total
    calls = (request for item in suite.items for arm in chosen for request in arms.requests(arm, item))
    return Total.of(
        [client.bound(request).nano for request in (*calls, *judge_requests(suite, chosen, judges, passes))]
    )


def judge_requests(suite: Suite, chosen: Sequence[Arm], judges: Sequence[ModelRef], passes: int) -> Iterator[Request]:
    """Stand-ins for the calls that judging a run can take."""
    for item in suite.items:
        yield from judging(item, len(chosen), len(chosen) - 1, judges, passes)


def judging(item: Item, texts: int, pairs: int, judges: Sequence[ModelRef], passes: int) -> Iterator[Request]:
    """Stand-ins for the calls that judging so many texts, or pairs, of an item can take: each criterion twice (a quote may be asked for
    again), each pair in both orders."""
    answer = "word " * (item.max_tokens or arms.MAX_TOKENS)
    if item.scorer == "rubric":
        count, seen = 2 * passes * len(item.rubric) * texts, 1
    elif item.scorer == "pairwise":
        count, seen = 2 * pairs, 2 + 2 * len(item.turns)
    else:
        return
    said = (user(item.prompt), *[user(answer)] * seen)
    for model in judges:
        yield from [Request(model, said, max_tokens=MAX_TOKENS)] * count


def first(failures: BaseExceptionGroup[Exception]) -> Exception:
    """The first exception of a group of groups."""
    for failure in failures.exceptions:
        return first(failure) if isinstance(failure, BaseExceptionGroup) else failure
    raise AssertionError("an exception group is never empty")
