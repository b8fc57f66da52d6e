"""Runs a suite on a Ray cluster: hands out batches, takes in what they came to, and does again what a lost machine did not finish.

All of the money is watched here. Before a batch goes out the bounds of its calls are reserved in this machine's ledger, under the run's cap;
when it comes back they give way to the calls themselves. What was under way on a machine that is lost may have been paid: its bound
stays in the ledger as an unknown call, and the item is asked again.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agent.errors import StateError, UsageError
from agent.extras import missing
from agent.files.own_files import write_atomically
from agent.llm.accounting import Bound, CallContext, Settlement
from agent.llm.errors import BudgetReached
from agent.llm.request import ModelRef
from moa.bench import arms, engine
from moa.bench.arms import Result
from moa.bench.cluster import worker
from moa.bench.cluster.store import Store
from moa.bench.cluster.worker import Batch, Trouble, Unit
from moa.bench.loop import arms as loop_arms

if TYPE_CHECKING:
    from agent.ledger.book import Ledger
    from agent.llm.client import ModelClient
    from agent.llm.request import Request
    from moa.bench.arms import Arm
    from moa.bench.items import Item, Suite
    from moa.bench.runs import Run

BATCH = 32
"""Items times arms of one task."""
MOST_LOST = 5
"""So often an item's machine may be lost: by then it is more likely the item that ends its machines."""
LOST = "machine_lost"
"""`error_kind` of calls that were under way on a machine that is lost."""


@contextmanager
def connected() -> Iterator[Any]:
    """Ray, connected to the cluster of `RAY_ADDRESS`, else to one that runs here, else to one of this machine alone. Raises UsageError."""
    # Nobody is told that moa is used: Ray's own reports are off, and so are its pages.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise missing("ray", "the engine ray", "ray") from error
    with redirect_stdout(sys.stderr):  # Ray tells of lost machines on standard output, which is the report's
        try:
            ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
        except (OSError, RuntimeError, ValueError) as error:
            where = os.environ.get("RAY_ADDRESS", "this machine")
            raise UsageError(
                f"no Ray cluster could be reached at {where}: {error}"[:300],
                remedy="start one with `ray start --head`, and name it with RAY_ADDRESS",
            ) from error
        try:
            yield ray
        finally:
            ray.shutdown()


@dataclass(slots=True)
class Cluster:
    """One run on a cluster. `store` is where its machines write, `judges` and `passes` are those of the run."""

    ray: Any
    client: ModelClient
    ledger: Ledger
    suite: Suite
    chosen: Sequence[Arm]
    kept: Run
    store: Store
    judges: Sequence[str] = ()
    passes: int = 1
    budget_nano: int | None = None
    progress: Callable[[int, int], None] = lambda _done, _all: None
    stopped: BudgetReached | None = field(init=False, default=None)
    _results: dict[tuple[str, str], Result] = field(init=False, default_factory=dict)
    _ready: deque[Unit] = field(init=False, default_factory=deque)
    _blocked: list[tuple[Item, Item, Arm]] = field(init=False, default_factory=list)
    _holds: dict[tuple[str, str], str] = field(init=False, default_factory=dict)
    _lost: Counter[tuple[str, str]] = field(init=False, default_factory=Counter)
    _base: str | None = field(init=False)
    _whole: int = field(init=False)

    async def run(self) -> BudgetReached | None:
        """Answer what the run has no line for yet. Returns the budget that ended it, where one did.

        Raises UsageError for what is wrong with a machine's settings, StateError where machines are lost again and again.
        """
        self._base = engine.base_of(self.suite, self.chosen)
        self._whole = len(self.suite.items) * len(self.chosen)
        try:
            await asyncio.to_thread(self.store.found)
            self._take_up()
            await self._go()
        finally:
            self.kept.close()
        return self.stopped

    def _take_up(self) -> None:
        """What this machine has, and what others have written since it last looked."""
        for result in self.kept.results():
            self._results[result.item, result.arm] = result
        self._take(list(self.store.rows()))
        for left in list(self.store.under_way()):
            self._unknown(left)
        todo = [each for each in engine.order(self.suite, self.chosen) if _key(each) not in self._results]
        self._blocked = todo
        self._unblock()

    def _unblock(self) -> None:
        """Whose donor and whose counterpart are there by now can go out."""
        rest = []
        for item, other, arm in self._blocked:
            donor = (other.id, arm.donor) if arm.donor else None
            beside = (item.id, self._base) if self._base and arm.name != self._base else None
            if any(key is not None and key not in self._results for key in (donor, beside)):
                rest.append((item, other, arm))
                continue
            nano, tokens = self._bound(arm, item)
            given, against = (None if key is None else self._results[key] for key in (donor, beside))
            self._ready.append(Unit(item, other, arm, given, against, nano, tokens))
        self._blocked = rest

    def _bound(self, arm: Arm, item: Item) -> tuple[int | None, int | None]:
        """The most that an item's calls can cost, and their tokens; None for both where its answers are stored."""
        calls: list[tuple[Request, int]]
        if self.suite.tasks:
            calls = loop_arms.requests(arm)
        else:
            calls = [(request, 1) for request in arms.requests(arm, item)]
            if all(self.client.endpoint(request.model.endpoint).answers for request, _count in calls):
                return None, None
        judges = [ModelRef.parse(name) for name in self.judges]
        judging = engine.judging(item, 1, int(arm.name != self._base), judges, self.passes)
        nano, tokens = 0, 0
        known = True
        for request, count in (*calls, *((request, 1) for request in judging)):
            bound = self.client.bound(request)
            known = known and bound.nano is not None
            nano, tokens = nano + count * (bound.nano or 0), tokens + count * bound.tokens
        return nano if known else None, tokens

    async def _go(self) -> None:
        ray = self.ray
        remote = ray.remote(num_cpus=1, max_retries=0)(worker.work)
        running: dict[asyncio.Future[Any], tuple[Any, Batch]] = {}
        try:
            while self._ready or running:
                while self._ready and len(running) < self._room():
                    batch = self._next(alone=not running)
                    if batch is None:
                        break
                    ref = remote.remote(batch)
                    running[asyncio.wrap_future(ref.future())] = (ref, batch)
                if not running:
                    return
                done, _rest = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for future in done:
                    _ref, batch = running.pop(future)
                    self._ended(batch, future)
                self.progress(len(self._results), self._whole)
        finally:
            for ref, batch in running.values():
                ray.cancel(ref, force=True)
                self._put_back(batch)

    def _room(self) -> int:
        """How many batches can be at work: one for each processor of the cluster as it is now."""
        return max(1, int(self.ray.cluster_resources().get("CPU", 1)))

    def _next(self, *, alone: bool) -> Batch | None:
        """The next batch whose bounds are reserved. Where the cap leaves no room it waits for what is under way; `alone`: nothing is."""
        units: list[Unit] = []
        while self._ready and len(units) < BATCH and self.stopped is None:
            unit = self._ready[0]
            try:
                self._reserve(unit)
            except BudgetReached as reached:
                if not units and alone:
                    self.stopped = reached
                break
            units.append(self._ready.popleft())
        if not units:
            if self.stopped is not None:
                self._ready.clear()
            return None
        base = self._base
        name = f"{self.kept.id}-{secrets.token_hex(6)}"
        return Batch(
            name, self.kept.id, self.store.url, tuple(units), self.suite.tasks, base, tuple(self.judges), self.passes
        )

    def _reserve(self, unit: Unit) -> None:
        if unit.tokens is None and self.budget_nano is None:
            return
        context = engine.context_of(unit.arm, unit.item, self.kept.id, self.budget_nano)
        bound = Bound(unit.tokens or 0, 0, unit.nano if unit.tokens is not None else 0)
        self._holds[unit.key] = self.ledger.reserve(unit.arm.model, context, bound)

    def _release(self, key: tuple[str, str]) -> None:
        if (hold := self._holds.pop(key, None)) is not None:
            self.ledger.release(hold)

    def _ended(self, batch: Batch, future: asyncio.Future[Any]) -> None:
        """A batch is over, one way or the other."""
        ray = self.ray
        try:
            found = future.result()
        except ray.exceptions.RayTaskError as error:
            raise StateError(f"a batch of the run ended with an error on its machine: {error.cause}"[:500]) from error
        except ray.exceptions.RayError:
            self._put_back(batch)
            return
        if isinstance(found, Trouble):
            self._put_back(batch)
            raise UsageError(found.message, remedy=found.remedy, kind=found.kind)
        self._take(found)
        for unit in batch.units:
            self._release(unit.key)
        self._unblock()

    def _put_back(self, batch: Batch) -> None:
        """A machine is lost: what it had done is in the store, what was under way may have been paid, and the rest is done again."""
        names = {(unit.item.id, unit.arm.name): unit for unit in batch.units}
        # The items of this batch alone: others may be at work.
        self._take([row for row in self.store.rows() if _row_key(row) in names])
        for left in list(self.store.under_way()):
            if (str(left.get("item")), str(left.get("arm"))) in names:
                self._unknown(left)
        for key, unit in names.items():
            self._release(key)
            if key in self._results:
                continue
            self._lost[key] += 1
            if self._lost[key] >= MOST_LOST:
                raise StateError(
                    f"the machine that did item {key[0]} in the arm {key[1]} was lost {MOST_LOST} times",
                    remedy="look at Ray's logs of the machines (often they had no memory left), then go on with --resume",
                )
            self._ready.appendleft(unit)
        self._unblock()

    def _take(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write down what is new: results, their calls, conversations."""
        from agent.ledger.rows import CallRow

        fresh = []
        for row in rows:
            if (key := _row_key(row)) is None:
                continue
            self.ledger.take_over([CallRow(**call) for call in row.get("calls", ())])
            if key in self._results:
                continue
            if (session := row.get("session")) is not None:
                write_atomically(self.kept.folder / "sessions" / str(session["name"]), str(session["text"]).encode())
            self._results[key] = Result(**row["result"])
            fresh.append(self._results[key])
        if fresh:
            self.kept.add(*fresh)

    def _unknown(self, left: Mapping[str, Any]) -> None:
        """Calls that were under way where nobody can ask any more: the ledger has their bound."""
        item, arm = str(left["item"]), str(left["arm"])
        if (item, arm) not in self._results:
            context = CallContext("main", engine.session_of(self.kept.id), self.kept.id, f"{arm}/{item}")
            bound = Bound(int(left["tokens"]), 0, left["nano"])
            call = self.ledger.reserve(ModelRef(str(left["endpoint"]), str(left["model"])), context, bound)
            self.ledger.sent(call)
            said = "the machine that made these calls was lost; this is the most that they can have cost"
            self.ledger.settle(call, Settlement("unknown", error_kind=LOST, error=said))
        self.store.forget(item, arm)


def _key(each: tuple[Item, Item, Arm]) -> tuple[str, str]:
    return each[0].id, each[2].name


def _row_key(row: Mapping[str, Any]) -> tuple[str, str] | None:
    result = row.get("result")
    return (str(result.get("item")), str(result.get("arm"))) if isinstance(result, dict) else None
