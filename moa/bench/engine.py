"""Runs all items through all arms, side by side, on this machine."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from agent.llm.accounting import CallContext, Cap
from agent.llm.errors import BudgetReached
from agent.llm.messages import user
from agent.llm.money import Total
from agent.llm.request import Request
from moa.bench import arms
from moa.bench.arms import Arm, Result
from moa.bench.items import Item, Suite
from moa.bench.judge.judge import MAX_TOKENS
from moa.bench.loop import arms as loop_arms
from moa.bench.runs import Run

if TYPE_CHECKING:
    from agent.ledger.book import Ledger
    from agent.ledger.rows import CallRow
    from agent.llm.client import ModelClient
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
    ledger: Ledger | None = None,
    retry: bool = False,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> BudgetReached | None:
    """Answer what the run has no line for yet. Returns the budget that ended it, where one did. `loops` are for tasks,
    `marker` for scores that take more than a look, `lookups` for members that look things up, `ledger` has what all of it cost. `retry`: what failed is asked again, too, and
    what stood beside a failed answer is compared with the new one.

    Each item is answered in all arms before much later ones are begun, so that a run that was stopped has pairs. Raises UsageError for
    an endpoint or a key that is not there. `progress(done, of)` counts items times arms.
    """
    answering = Answering(client, kept.id, base_of(suite, chosen), loops, marker, budget_nano, lookups, ledger)
    work = _Work(answering, suite, chosen, kept, retry, progress)
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
    """How one item of a run is answered in one arm, and scored. `base` is the arm that the others are judged beside. `ledger` has the last word
    on what that cost: attempts that failed on the way and members that were cancelled have rows of their own."""

    client: ModelClient
    run: str
    base: str | None = None
    loops: Loops | None = None
    marker: Marker | None = None
    budget_nano: int | None = None
    lookups: Lookups | None = None
    ledger: Ledger | None = None

    async def answer(self, arm: Arm, item: Item, other: Item, donor: Result | None) -> Result:
        """Answer it, with how long that took. `donor` is the other item's result whose guidance a placebo gives. Raises as `arms.answer` does."""
        started, since = time.perf_counter(), time.time()
        if self.loops is not None:
            result = await self.loops.answer(arm, item, donor)
        else:
            context = context_of(arm, item, self.run, self.budget_nano)
            result = await arms.answer(self.client, arm, item, context, other=other, lookups=self.lookups)
            if self.instant(arm, item):
                # How long it takes to read an answer from a file says nothing about the model.
                return result
            if rows := self._rows(context, since):
                total = Total.of(row.cost_nano for row in rows)
                result.calls = [row.id for row in rows]
                result.cost_nano, result.unknown = total.nano, total.unknown
                result.tokens = sum(usage.total for row in rows if (usage := row.usage) is not None)
        result.seconds = time.perf_counter() - started
        return result

    def _rows(self, context: CallContext, since: float) -> list[CallRow]:
        """The calls of an item in an arm since then; not those of an attempt that was killed."""
        if self.ledger is None:
            return []
        return self.ledger.calls(session=context.session, turn=context.turn, since=since)

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
        if self.marker is None:
            return
        context, since = context_of(arm, item, self.run, self.budget_nano), time.time()
        await self.marker.mark(result, item, context, against)
        if rows := self._rows(context, since):
            total = Total.of(row.cost_nano for row in rows)
            result.judge_calls = [row.id for row in rows]
            result.judge_nano, result.judge_unknown = total.nano, total.unknown


class _Work:
    """What is left of a run, and what was done."""

    def __init__(
        self,
        answering: Answering,
        suite: Suite,
        chosen: Sequence[Arm],
        kept: Run,
        retry: bool,
        progress: Callable[[int, int], None],
    ) -> None:
        self.stopped: BudgetReached | None = None
        self._answering, self._kept, self._progress = answering, kept, progress
        donors = {name for name in (answering.base, *(arm.donor for arm in chosen)) if name}
        self._given: dict[tuple[str, str], asyncio.Future[Result]] = {
            (item.id, name): asyncio.get_running_loop().create_future() for item in suite.items for name in donors
        }
        self._failed: dict[tuple[str, str], Result] = {}
        self._beside: dict[tuple[str, str], Result] = {}
        todo = self._todo(suite, chosen, retry)
        self._whole = len(suite.items) * len(chosen)
        self.left = len(todo)
        self._waiting = iter(todo)

    def _todo(self, suite: Suite, chosen: Sequence[Arm], retry: bool) -> list[tuple[Item, Item, Arm]]:
        """What has no line yet, and with `retry` what failed. What has one is handed over to who waits for it.

        What won because there was nothing beside it is compared again once there is.
        """
        done, given, base = set(), dict[tuple[str, str], Result](), self._answering.base
        for result in self._kept.results():
            key = result.item, result.arm
            done.add(key)
            if key in self._given:
                given[key] = result
            if base is not None:
                self._beside[key] = result
            if retry and result.status == "failed":
                self._failed[key] = result
            else:
                self._failed.pop(key, None)
        for key, result in given.items():
            if key not in self._failed:
                self._hand_over(result)
        there = {item for (item, arm), each in given.items() if arm == base and each.status == "done"}
        there |= {item for item, arm in self._failed if arm == base}
        self._beside = {key: each for key, each in self._beside.items() if key[0] in there and _unopposed(each, base)}
        done -= self._failed.keys() | self._beside.keys()
        return [each for each in order(suite, chosen) if (each[0].id, each[2].name) not in done]

    async def told(self) -> None:
        """Items whose answers are stored and come at once, in batches; what can't be told so is left for `on`."""
        rest = []
        while batch := list(islice(self._waiting, BATCH)):
            asked = [(arm, item, context_of(arm, item, self._kept.id, None)) for item, _other, arm in batch]
            results = await arms.told(self._answering.client, asked)
            done = [result for result in results if result is not None]
            self._keep(done)
            rest += [each for each, result in zip(batch, results, strict=True) if result is None]
            await asyncio.sleep(0)
        self._waiting = iter(rest)

    async def on(self) -> None:
        """Answer one after the other, until nothing is left or the budget is reached."""
        for item, other, arm in self._waiting:
            if self.stopped is not None:
                return
            try:
                result = await self._one(item, other, arm)
            except asyncio.CancelledError:
                if self.stopped is not None:
                    return  # the run is over, and who was to give it something was not done
                raise
            except BudgetReached as reached:
                self.stopped = reached
                for waited in self._given.values():
                    waited.cancel()
                return
            self._keep([result])

    async def _one(self, item: Item, other: Item, arm: Arm) -> Result:
        """Answer an item in an arm and score it; one that has its answer is compared again."""
        answering = self._answering
        result = self._beside.get((item.id, arm.name))
        if result is None:
            donor = self._given.get((other.id, arm.donor)) if arm.donor else None
            result = await answering.answer(arm, item, other, await donor if donor else None)
        base = answering.needs(arm)
        await answering.mark(result, arm, item, await self._given[item.id, base] if base else None)
        return result

    def _keep(self, results: Sequence[Result]) -> None:
        """Write down what is done."""
        for result in results:
            earlier = self._failed.pop((result.item, result.arm), None)
            if earlier is not None:
                result.supersede(earlier)
        self._kept.add(*results)
        for result in results:
            self._hand_over(result)
        self.left -= len(results)
        if results:
            self._progress(self._whole - self.left, self._whole)

    def _hand_over(self, result: Result) -> None:
        given = self._given.get((result.item, result.arm))
        if given is not None and not given.done():
            given.set_result(result)


def _unopposed(result: Result, base: str | None) -> bool:
    """Whether an answer won because the one beside it was not there (`Marker.mark`)."""
    return result.arm != base and result.status == "done" and result.score == 1.0 and not result.judge_calls


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
    client: ModelClient,
    suite: Suite,
    chosen: Sequence[Arm],
    judges: Sequence[ModelRef] = (),
    passes: int = 1,
    only: Collection[tuple[str, str]] | None = None,
) -> Total:
    """The most that a whole run can cost, or these items and arms of it: the sum of its calls' upper bounds. Of tasks what they cost if all
    steps are as large as assumed."""
    asked = [(arm, item) for item in suite.items for arm in chosen if only is None or (item.id, arm.name) in only]
    if suite.tasks:
        total, times = Total(), Counter(arm.name for arm, _item in asked)
        for arm in chosen:
            for request, count in loop_arms.requests(arm):
                nano, calls = client.bound(request).nano, count * times[arm.name]
                known = 0 if nano is None else calls
                total = Total(total.nano + (nano or 0) * calls, total.known + known, total.unknown + calls - known)
        return total
    texts = Counter(item.id for _arm, item in asked)
    requests = [request for arm, item in asked for request in arms.requests(arm, item)]
    for item in suite.items:
        if texts[item.id]:
            requests += judging(item, texts[item.id], len(chosen) - 1, judges, passes)
    return Total.of([client.bound(request).nano for request in requests])


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
