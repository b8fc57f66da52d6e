"""Runs all items through all arms, side by side, on this machine."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from agent.llm.accounting import CallContext, Cap
from agent.llm.errors import BudgetReached
from moa.bench import arms
from moa.bench.arms import Arm, Result
from moa.bench.runs import Run
from moa.bench.suites import Item, Suite

if TYPE_CHECKING:
    from agent.llm.client import ModelClient
    from agent.llm.money import Total

SIDE_BY_SIDE = 16


async def run(
    client: ModelClient,
    suite: Suite,
    chosen: Sequence[Arm],
    kept: Run,
    *,
    budget_nano: int | None = None,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> BudgetReached | None:
    """Answer what the run has no line for yet. Returns the budget that ended it, where one did.

    Each item is answered in all arms before much later ones are begun, so that a run that was stopped has pairs. Raises UsageError for
    an endpoint or a key that is not there. `progress(done, of)` counts items times arms.
    """
    found = {(result.item, result.arm) for result in kept.results()}
    # A placebo gets the counsel of the next item of the suite, so it does not depend on what is done already.
    beside = zip(suite.items, (*suite.items[1:], suite.items[0]), strict=True)
    todo = [(item, other, arm) for item, other in beside for arm in chosen if (item.id, arm.name) not in found]
    whole = len(suite.items) * len(chosen)
    waiting, done = iter(todo), whole - len(todo)
    stopped: BudgetReached | None = None

    async def work() -> None:
        nonlocal done, stopped
        for item, other, arm in waiting:
            if stopped is not None:
                return
            try:
                result = await _answer(client, arm, item, other, kept.id, budget_nano)
            except BudgetReached as reached:
                stopped = reached
                return
            kept.add(result)
            done += 1
            progress(done, whole)

    try:
        async with asyncio.TaskGroup() as group:
            for _worker in range(min(SIDE_BY_SIDE, len(todo))):
                group.create_task(work())
    except* Exception as failures:
        raise _first(failures) from None
    finally:
        kept.close()
    return stopped


async def _answer(
    client: ModelClient, arm: Arm, item: Item, other: Item, run_id: str, budget_nano: int | None
) -> Result:
    context = context_of(arm, item, run_id, budget_nano)
    started = time.perf_counter()
    result = await arms.answer(client, arm, item, context, other=other)
    instant = all(client.endpoint(request.model.endpoint).answers for request in arms.requests(arm, item))
    # How long it takes to read an answer from a file says nothing about the model.
    result.seconds = None if instant else time.perf_counter() - started
    return result


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


def bound(client: ModelClient, suite: Suite, chosen: Sequence[Arm]) -> Total:
    """The most that a whole run can cost: the sum of its calls' upper bounds."""
    from agent.llm.money import Total

    return Total.of(
        [client.bound(request).nano for item in suite.items for arm in chosen for request in arms.requests(arm, item)]
    )


def _first(failures: BaseExceptionGroup[Exception]) -> Exception:
    for failure in failures.exceptions:
        return _first(failure) if isinstance(failure, BaseExceptionGroup) else failure
    raise AssertionError("an exception group is never empty")
