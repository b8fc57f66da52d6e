"""What one machine does: a batch of items, with the settings and keys of that machine, and books of its own that it hands over."""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.errors import UsageError
from moa import __version__
from moa.bench import counselled, engine
from moa.bench.arms import Arm, Result
from moa.bench.cluster.store import Store
from moa.bench.items import Item
from moa.bench.runs import clean

if TYPE_CHECKING:
    from agent.ledger.book import Ledger


@dataclass(frozen=True, slots=True)
class Unit:
    """An item in an arm. `other` and `donor` are what a placebo gets, `against` is the answer that it is judged beside. `nano` (None: unknown)
    and `tokens` are the most that its calls can take; None of both: nothing is paid for."""

    item: Item
    other: Item
    arm: Arm
    donor: Result | None = None
    against: Result | None = None
    nano: int | None = None
    tokens: int | None = None

    @property
    def key(self) -> tuple[str, str]:
        """Which one it is."""
        return self.item.id, self.arm.name


@dataclass(frozen=True, slots=True)
class Batch:
    """What a task is given. `name` is this attempt's own; `tasks`: its items are tasks for the agent's loop; `base` as the engine has it."""

    name: str
    run: str
    store: str
    units: tuple[Unit, ...]
    tasks: bool
    base: str | None
    judges: tuple[str, ...] = ()
    passes: int = 1
    version: str = __version__


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is wrong on a machine, as its UsageError said it (exceptions with arguments of their own don't travel)."""

    message: str
    remedy: str | None
    kind: str


def work(batch: Batch) -> list[dict[str, Any]] | Trouble:
    """Do a batch: for each item `{result, calls}`, which stand in the store as well, each as soon as it is done."""
    try:
        if batch.version != __version__:
            raise UsageError(
                f"this machine has moa {__version__}, and the run was begun by {batch.version}",
                remedy="install the same version on all machines",
            )
        return asyncio.run(_work(batch))
    except UsageError as error:
        return Trouble(f"{_here()}: {error.message}", error.remedy, error.kind)


def _here() -> str:
    import socket

    return f"on {socket.gethostname()}"


async def _work(batch: Batch) -> list[dict[str, Any]]:
    from agent.admin.sessions import configuration
    from agent.client import make_client
    from agent.ledger.book import Ledger
    from moa.bench.loop.runner import Loops
    from moa.bench.marking import marker_for

    config, store = configuration(), Store(batch.store, batch.run)
    await asyncio.to_thread(store.check)
    with (
        tempfile.TemporaryDirectory(prefix="moa-batch-") as scratch,
        closing(Ledger(Path(scratch) / "ledger.db", redact=config.redact)) as books,
    ):
        client = make_client(config, books)
        try:
            account = engine.session_of(batch.run)
            loops = Loops(config, books, client, Path(scratch), batch.run, account) if batch.tasks else None
            marker = marker_for([unit.item for unit in batch.units], config, client, batch.judges, batch.passes)
            lookups = counselled.lookups_for([unit.arm.preset for unit in batch.units], config, client)
            answering = engine.Answering(client, batch.run, batch.base, loops, marker, None, lookups, books)
            return await _Doing(batch, store, books, answering).all()
        finally:
            await client.aclose()


@dataclass(slots=True)
class _Doing:
    batch: Batch
    store: Store
    books: Ledger
    answering: engine.Answering

    async def all(self) -> list[dict[str, Any]]:
        """Each unit, some side by side."""
        rows: dict[tuple[str, str], dict[str, Any]] = {}
        handed: set[str] = set()
        waiting = iter(self.batch.units)

        async def on() -> None:
            for unit in waiting:
                rows[unit.key] = await self._one(unit, handed)

        side_by_side = engine.LOOPS_SIDE_BY_SIDE if self.batch.tasks else engine.SIDE_BY_SIDE
        try:
            async with asyncio.TaskGroup() as group:
                for _worker in range(min(side_by_side, len(self.batch.units))):
                    group.create_task(on())
        except* Exception as failures:
            raise engine.first(failures) from None
        await asyncio.to_thread(self.store.whole, self.batch.name, [(*key, row) for key, row in rows.items()])
        return list(rows.values())

    async def _one(self, unit: Unit, handed: set[str]) -> dict[str, Any]:
        item, arm = unit.item, unit.arm
        if unit.tokens is not None:
            bound = {"endpoint": arm.model.endpoint, "model": arm.model.model, "nano": unit.nano, "tokens": unit.tokens}
            await asyncio.to_thread(self.store.begin, *unit.key, bound)
        result = await self.answering.answer(arm, item, unit.other, unit.donor)
        await self.answering.mark(result, arm, item, unit.against)
        row: dict[str, Any] = {
            "result": clean(asdict(result), self.answering.client.redact),
            "calls": self._calls(handed),
        }
        if (loops := self.answering.loops) is not None:
            path = loops.session_path(arm, item)
            row["session"] = {"name": path.name, "text": await asyncio.to_thread(path.read_text, "utf-8")}
        await asyncio.to_thread(self.store.done, *unit.key, row)
        return row

    def _calls(self, handed: set[str]) -> list[dict[str, Any]]:
        """Calls that are over and were not handed over before."""
        found = [call for call in self.books.calls() if call.outcome != "reserved" and call.id not in handed]
        handed.update(call.id for call in found)
        return [asdict(call) for call in found]
