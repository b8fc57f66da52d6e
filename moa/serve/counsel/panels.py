"""The panels that are at work for served requests. Requests that are the same share one; a counsel may go on while its request is answered
(lookahead), and members that are late may belong to the next request of the same branch."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from moa.counsel.take import Council
    from moa.preset.preset import Preset

T = TypeVar("T")

KEEP_S = 600.0
"""So long late members are waited for; the branch may have come to its end."""


@dataclass(slots=True)
class Advice:
    """What came of a counsel: `facts` as rows keep them, the guidance (None: nothing is sent), under which `conversation` it was taken, and
    the panel, where some are still at work. It belongs to whoever takes it from here, with `claim`."""

    facts: Mapping[str, Any]
    text: str | None
    conversation: str
    council: Council | None = None

    def claim(self) -> Council | None:
        """The panel, for the first who asks."""
        council, self.council = self.council, None
        return council


@dataclass(slots=True)
class _Work:
    task: asyncio.Task[Advice]
    waiting: int = 0


@dataclass(slots=True)
class _Behind:
    """What goes on behind a counsel."""

    council: Council | None = None
    ahead: asyncio.Task[None] | None = None
    end: asyncio.TimerHandle | None = None


@dataclass(slots=True)
class Panels:
    """Of one process. `make` gives a panel for a preset."""

    make: Callable[[Preset], Council]
    _open: dict[Hashable, _Work] = field(default_factory=dict)
    _behind: dict[str, _Behind] = field(default_factory=dict)
    _ending: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def waiting(self) -> int:
        """How many requests wait for a counsel at this moment."""
        return sum(work.waiting for work in self._open.values())

    async def share(self, key: Hashable, take: Callable[[], Awaitable[Advice]]) -> tuple[Advice, bool, Council | None]:
        """The advice for all who ask with the same key at the same time, whether somebody else had asked first, and for one of them the panel
        whose members are still at work. When the last of them has gone, the panel is stopped."""
        work = self._open.get(key)
        first = work is None
        if work is None:
            work = self._open[key] = _Work(asyncio.create_task(_run(take), name="counsel for a request"))
        work.waiting += 1
        try:
            advice = await asyncio.shield(work.task)
            return advice, not first, advice.claim()
        finally:
            work.waiting -= 1
            if not work.waiting:
                if self._open.get(key) is work:
                    del self._open[key]
                await _let_go(work.task)

    # What goes on behind a counsel. `taken` names it (see `moa.serve.guidance.rows.Row`).

    def council(self, preset: Preset, taken: str) -> Council:
        """The panel whose late members belong to the counsel `taken`, else a new one."""
        behind = self._behind.get(taken)
        if behind is not None and behind.council is not None and behind.council.preset == preset:
            council, behind.council = behind.council, None
            return council
        return self.make(preset)

    def keep(self, taken: str, council: Council) -> None:
        """Members of its panel are still at work."""
        self._entry(taken).council = council

    def look_ahead(self, taken: str, take: Callable[[], Awaitable[None]]) -> None:
        """Take the next counsel while the reply is made."""
        self._entry(taken).ahead = asyncio.create_task(_run(take), name="counsel ahead")

    def is_ahead(self, taken: str) -> bool:
        """Whether the next counsel is still under way."""
        behind = self._behind.get(taken)
        return behind is not None and behind.ahead is not None and not behind.ahead.done()

    async def drop(self, *taken: str) -> None:
        """Nothing of what goes on behind these counsels is wanted any more."""
        for name in taken:
            behind = self._behind.pop(name, None)
            if behind is None:
                continue
            if behind.end is not None:
                behind.end.cancel()
            if behind.ahead is not None and not behind.ahead.done():
                behind.ahead.cancel()
                await asyncio.wait([behind.ahead])
            if behind.council is not None:
                await behind.council.close()

    async def close(self) -> None:
        """End everything."""
        for work in list(self._open.values()):
            work.task.cancel()
        if tasks := [work.task for work in self._open.values()]:
            await asyncio.wait(tasks)
        await self.drop(*list(self._behind))

    def _entry(self, taken: str) -> _Behind:
        behind = self._behind.setdefault(taken, _Behind())
        if behind.end is None:
            behind.end = asyncio.get_running_loop().call_later(KEEP_S, self._expire, taken)
        return behind

    def _expire(self, taken: str) -> None:
        task = asyncio.create_task(self.drop(taken))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)


async def _let_go(task: asyncio.Task[Advice]) -> None:
    """Nobody waits any more. A panel that nobody has claimed is ended: whoever asked first may have left as the advice came."""
    if not task.done():
        task.cancel()
        await asyncio.wait([task])
    if not task.cancelled() and task.exception() is None and (council := task.result().claim()) is not None:
        await council.close()


async def _run(take: Callable[[], Awaitable[T]]) -> T:
    return await take()
