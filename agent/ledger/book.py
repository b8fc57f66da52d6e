"""The books: every model call, who asked for it, what it cost."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from agent.errors import StateError, UsageError
from agent.ledger import caps, days
from agent.ledger.database import BUSY_S, Database
from agent.ledger.owner import lives, this_process
from agent.ledger.schema import VISIBLE
from agent.ledger.store import Locked, Store, is_address
from agent.llm.money import LARGEST_NANO
from agent.llm.stream import Usage

if TYPE_CHECKING:
    from pathlib import Path

    from agent.ledger.rows import CallRow, Grouping, Sum
    from agent.llm.accounting import Bound, CallContext, Settlement
    from agent.llm.money import Total
    from agent.llm.request import ModelRef

T = TypeVar("T")

Lookup = Callable[[str, str], Awaitable[tuple[Usage | None, int] | None]]
"""Asks an endpoint (by name) what a call (by generation id) used and cost, in nano-dollars; None where it can't say."""

OWNER_DIED = "owner_died"
"""`error_kind` of a call whose process ended before it could settle it."""

_ASK_WITHIN_S = 7 * 86400.0
_ASK_AT_MOST = 20
_SWEEP_S = 0.25
_LONGEST_PAUSE_S = 0.1
EDGE_S = 4 * 86400.0
"""Days and times of calls may differ by some hours (a call that was begun before midnight, another zone), never by so much."""
_LONGEST = 2000


class Ledger:
    """The books over one database; `PatientLedger` makes them an `agent.llm.accounting.Accounts`.

    Every method is short (well under a millisecond) and synchronous but `reconcile`. Several processes may share the file. All
    methods raise StateError where the file can't be read or written; a method that writes waits up to `BUSY_S` seconds for another
    program's lock, in an event loop only through `patiently` (patient.py).
    """

    def __init__(
        self,
        path: Path | str,
        *,
        redact: Callable[[str], str] = lambda text: text,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Open the file, or make it; or the PostgreSQL database of an address (`postgresql://…`). `redact` takes secrets out of error
        messages; `clock` gives Unix seconds."""
        self.path = path
        self._database = _open(path)
        self._closed = False
        self._redact = redact
        self.clock = self._clock = clock
        self._owner = this_process()
        self._day: days.Begun | None = None

    @property
    def database(self) -> Store:
        """The database, for what else is kept beside the calls. One connection to a file a process: two of one process can wait for each other."""
        return self._database

    def close(self) -> None:
        """Close the file."""
        self._closed = True
        self._database.close()

    # Before and after a call

    def reserve(
        self,
        model: ModelRef,
        context: CallContext,
        bound: Bound,
        call_id: str | None = None,
        *,
        sends: bool = False,
        again: bool = False,
    ) -> str:
        """Set a call's upper bound aside in one transaction and return the call's id (`call_id`, where one is given). `sends`: it goes out
        now, as `sent` says. `again`: a try before this one may have done it, and its end was not learned.

        Raises BudgetReached where a cap of `context.caps` leaves no room, and writes nothing then.
        """
        _refuse_negative(bound)
        call_id = call_id or new_id()
        now = self._clock()
        if not (again or context.caps) and (day := self._day_of(now)) is not None:
            # One statement, which is all or nothing by itself.
            self._set_aside(call_id, model, context, bound, day, now, sends=sends)
            return call_id
        with self._database.transaction(alone=bool(context.caps)):
            if again and self._database.rows("SELECT 1 FROM calls WHERE id = ?", (call_id,)):
                return call_id
            day = days.enter(self._database, now)
            caps.check(self._database, context, bound, day=day, owner=self._owner)
            self._set_aside(call_id, model, context, bound, day, now, sends=sends)
        return call_id

    def _day_of(self, now: float) -> str | None:
        """The day that `now` is in, if it has begun. It is looked up once: whoever else uses the database, it stays what it is."""
        known = self._day
        if known is None or not known.since <= now < known.ends:
            known = self._day = days.begun(self._database, now)
        return None if known is None else known.day

    def _set_aside(
        self, call_id: str, model: ModelRef, context: CallContext, bound: Bound, day: str, now: float, *, sends: bool
    ) -> None:
        self._database.write(
            "INSERT INTO calls (id, purpose, slot, share, session, run, turn, iteration, day, endpoint, model_requested,"
            " reserved_tokens, counts_tokens, reserved_nano, counts_nano, cost_source, outcome, retries, started, sent, owner, account, preset)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'unknown', 'reserved', 0, ?, ?, ?, ?, ?)"
            " ON CONFLICT DO NOTHING",  # a try whose end was not learned may be under way even now
            (
                *(call_id, context.purpose, context.slot, context.share),
                *(context.session, context.run, context.turn, context.iteration, day, model.endpoint, model.model),
                *(bound.tokens, bound.tokens, bound.nano, bound.nano, now, now if sends else None),
                *(self._owner, context.account, context.preset),
            ),
        )

    def told(
        self, calls: Sequence[tuple[ModelRef, CallContext, Settlement]], ids: Sequence[str] | None = None
    ) -> list[str]:
        """Calls that were answered from a file, all in one transaction; returns their ids (`ids`, where they are given: those that are there
        already stay as they are). Nothing was set aside: nothing was sent."""
        now, ids = self._clock(), list(ids) if ids is not None else [new_id() for _call in calls]
        with self._database.transaction(alone=False):
            day = days.enter(self._database, now)
            for call_id, (model, context, settled) in zip(ids, calls, strict=True):
                usage, cost = settled.usage or Usage(), _plausible(settled.cost_nano)
                tokens = usage.prompt + usage.completion
                self._database.write(
                    "INSERT INTO calls (id, purpose, slot, share, session, run, turn, iteration, day, endpoint, model_requested,"
                    " reserved_tokens, counts_tokens, reserved_nano, counts_nano, cost_nano, cost_source, outcome, retries, started, owner,"
                    " sent, ended, duration_s, model_served, provider, prompt_tokens, cached_tokens, cache_write_tokens, completion_tokens,"
                    " reasoning_tokens, account, preset)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?, ?, ?, 0, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
                    " ON CONFLICT DO NOTHING",
                    (
                        *(call_id, context.purpose, context.slot, context.share),
                        *(
                            context.session,
                            context.run,
                            context.turn,
                            context.iteration,
                            day,
                            model.endpoint,
                            model.model,
                        ),
                        *(tokens, tokens, cost, cost, cost, settled.cost_source if cost is not None else "unknown"),
                        *(settled.outcome, now, self._owner, now, now),
                        *(self._clean(settled.model_served), self._clean(settled.provider)),
                        *(usage.prompt, usage.cached, usage.cache_write, usage.completion, usage.reasoning),
                        *(context.account, context.preset),
                    ),
                )
        return ids

    def take_over(self, calls: Sequence[CallRow]) -> None:
        """Calls that another machine's ledger has, under their own ids and days; those that are here already stay as they are."""
        with self._database.transaction():
            for call in calls:
                row = {**asdict(call), "owner": self._owner, "error": self._clean(call.error)}
                tokens = None if call.usage is None else call.usage.prompt + call.usage.completion
                row["counts_tokens"] = call.reserved_tokens if tokens is None else tokens
                row["counts_nano"] = call.reserved_nano if call.cost_nano is None else call.cost_nano
                places = ", ".join("?" * len(row))
                self._database.write(
                    f"INSERT INTO calls ({', '.join(row)}) VALUES ({places}) ON CONFLICT DO NOTHING",
                    tuple(row.values()),
                )

    def adjust(self, call_id: str, context: CallContext, bound: Bound) -> None:
        """Change an open reservation to another bound under the same caps; on BudgetReached the old one stays.

        Raises ValueError where there is no such open reservation.
        """
        _refuse_negative(bound)
        with self._database.transaction():
            day = days.enter(self._database, self._clock())
            # Out of the sums while they are checked; a refusal rolls this back.
            mine = self._database.write(
                "UPDATE calls SET counts_nano = 0, counts_tokens = 0, day = CASE WHEN sent IS NULL THEN ? ELSE day END"
                " WHERE id = ? AND outcome = 'reserved'",
                (day, call_id),
            )
            if not mine:
                raise ValueError(f"no open reservation {call_id}")
            caps.check(self._database, context, bound, day=day, owner=self._owner)
            self._database.write(
                "UPDATE calls SET reserved_tokens = ?, counts_tokens = ?, reserved_nano = ?, counts_nano = ? WHERE id = ?",
                (bound.tokens, bound.tokens, bound.nano, bound.nano, call_id),
            )

    def sent(self, call_id: str, *, generation_id: str | None = None) -> None:
        """The request goes out now (from here on a crash leaves a bill); called again when the provider's id for it is known."""
        self._database.write(
            "UPDATE calls SET sent = coalesce(sent, ?), generation_id = coalesce(?, generation_id) WHERE id = ?",
            (self._clock(), self._clean(generation_id), call_id),
        )

    def settle(self, call_id: str, settlement: Settlement) -> None:
        """Replace a reservation by what happened. A call that is settled already stays as it is.

        Where the cost is unknown the reserved bound goes on counting against caps; a bound of nothing means that the cost is nothing.
        """
        if settlement.outcome == "reserved":
            raise ValueError("a call can't be settled as reserved")
        cost, usage = _plausible(settlement.cost_nano), settlement.usage
        nothing_billed = settlement.outcome == "failed" and cost == 0 and settlement.cost_source != "local"
        # A process that had been taken for dead may yet come and settle.
        self._database.write(
            f"UPDATE calls SET outcome = ?, model_served = ?, provider = ?, generation_id = coalesce(?, generation_id), {_FIGURES},"
            " ttft_s = ?, duration_s = ?, retries = ?, error_kind = ?, error = ?, ended = ?"
            " WHERE id = ? AND (outcome = 'reserved' OR error_kind = ?)",
            (
                settlement.outcome,
                *map(self._clean, (settlement.model_served, settlement.provider, settlement.generation_id)),
                *_figures(usage, 0 if nothing_billed else None, cost, settlement.cost_source),
                *(settlement.ttft_s, settlement.duration_s, settlement.retries, settlement.error_kind),
                *(self._clean(settlement.error), self._clock(), call_id, OWNER_DIED),
            ),
        )

    def release(self, call_id: str, *, marked: bool = False) -> None:
        """Take a reservation back whose call was never sent: it leaves no row. One that was sent stays; `marked`: it only said so."""
        only = "" if marked else " AND sent IS NULL"
        self._database.write(f"DELETE FROM calls WHERE id = ? AND outcome = 'reserved'{only}", (call_id,))

    # After a crash

    def sweep(self) -> int:
        """Close the open reservations of processes that are no more; returns how many there were.

        A call that was never sent leaves no row; one that was is `unknown`, and its bound stays what counts. One indexed query
        where there is nothing to do; where another program has the file locked it is left for the next start.
        """
        try:
            with self._database.waiting(_SWEEP_S):
                return self._sweep()
        except Locked:
            return 0

    def _sweep(self) -> int:
        now = self._clock()
        open_calls = self._database.rows(
            "SELECT id, owner, started FROM calls WHERE cost_nano IS NULL AND outcome = 'reserved' AND owner <> ?",
            (self._owner,),
        )
        living = {owner: lives(owner, now - started) for _, owner, started in open_calls}
        dead = [call_id for call_id, owner, _ in open_calls if not living[owner]]
        if not dead:
            return 0
        with self._database.transaction():
            for call_id in dead:
                self.release(call_id)
                self._database.write(
                    f"UPDATE calls SET outcome = 'unknown', {_FIGURES}, error_kind = ?, error = ?, ended = ?"
                    " WHERE id = ? AND outcome = 'reserved'",
                    (
                        *_figures(None, None, None, "unknown"),
                        *(OWNER_DIED, "the program ended while this call was under way", now, call_id),
                    ),
                )
        return len(dead)

    async def reconcile(self, lookup: Lookup | None = None) -> int:
        """`sweep`, then ask `lookup` about calls of the last week whose cost is unknown and which the provider knows by an id.

        Returns how many calls it could close or price. Meant to run beside the first turn: a lookup that fails is tried again at
        the next start.
        """
        count = 0
        with suppress(Locked):
            count = await self.patiently(self._sweep)
        if lookup is None:
            return count
        unknown = partial(
            self._database.rows,
            "SELECT id, endpoint, generation_id FROM calls WHERE cost_nano IS NULL AND outcome <> 'reserved'"
            " AND generation_id IS NOT NULL AND started >= ? ORDER BY started DESC LIMIT ?",
            (self._clock() - _ASK_WITHIN_S, _ASK_AT_MOST),
        )
        for call_id, endpoint, generation_id in await self.patiently(unknown):
            try:
                answer = await lookup(endpoint, generation_id)
            except Exception:  # whatever goes wrong at the endpoint: the bound stays, which is safe
                continue
            cost = _plausible(answer[1]) if answer else None
            if answer is None or cost is None:
                continue
            values = (*_figures(answer[0], None, cost, "generation"), call_id)
            count += await self.patiently(
                partial(self._database.write, f"UPDATE calls SET {_FIGURES} WHERE id = ? AND cost_nano IS NULL", values)
            )
        return count

    async def patiently(self, work: Callable[[], T], wait_s: float = BUSY_S) -> T:
        """Do a piece of work on this ledger; where another program has it locked, wait without holding up the event loop.

        Where the database may wait for a network it is done in the database's thread. A work that is done again was perhaps done before.
        Raises Locked after `wait_s` seconds.
        """
        loop, pause = asyncio.get_running_loop(), 0.001
        deadline = loop.time() + wait_s
        while True:
            if self._closed:
                raise StateError("the ledger is closed")
            try:
                if (thread := self._database.thread) is not None:
                    return await loop.run_in_executor(thread, work)
                with self._database.waiting(0):
                    return work()
            except Locked:
                if loop.time() >= deadline:
                    raise
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    # What it says. A reservation that was not sent is no call yet, and is in none of these.

    def calls(
        self,
        session: str | None = None,
        run: str | None = None,
        turn: str | None = None,
        since: float | None = None,
        *,
        account: str | None = None,
        newest: int | None = None,
    ) -> list[CallRow]:
        """The calls, oldest first. `since` is a Unix time; `newest` says how many of the last ones are wanted; `account` whose."""
        from agent.ledger.rows import COLUMNS, CallRow

        where, values = _where(session, run, turn, since, account=account)
        query = f"SELECT {COLUMNS} FROM calls WHERE {where} ORDER BY"
        if newest is None:
            return [CallRow(*row) for row in self._database.rows(f"{query} started, rowid", values)]
        rows = self._database.rows(f"{query} started DESC, rowid DESC LIMIT {newest:d}", values)
        return [CallRow(*row) for row in reversed(rows)]

    def each_call(self, *, session: str | None = None, since: float | None = None) -> Iterator[CallRow]:
        """The same calls one by one, however many there are."""
        from agent.ledger.rows import COLUMNS, CallRow

        where, values = _where(session, None, None, since)
        for row in self._database.each(f"SELECT {COLUMNS} FROM calls WHERE {where} ORDER BY started, rowid", values):
            yield CallRow(*row)

    def sums(
        self,
        by: Grouping | None = None,
        *,
        session: str | None = None,
        run: str | None = None,
        turn: str | None = None,
        since: float | None = None,
        day: str | None = None,
    ) -> list[Sum]:
        """The calls added up: one sum for each group, or a single one. Every total that is shown anywhere comes from here.

        `day` is one of the ledger's own days, as `today` gives it.
        """
        from agent.ledger.rows import sum_of, sums_query

        kept, kept_values = _where(session, None, None, None, day, kept=True)
        if run is None and turn is None and since is None:
            return [sum_of(row) for row in self._database.rows(sums_query(by, None, kept), kept_values)]
        counted, values = _where(session, run, turn, since, day)
        if run is not None or turn is not None or (edge := self._edge(since)) is None:
            return [sum_of(row) for row in self._database.rows(sums_query(by, counted, None), values)]
        # Only the first days are read call by call; what is kept of the later ones lies after `since` as a whole.
        last_day, until = edge
        query = sums_query(by, f"{counted} AND day <= ? AND started < ?", f"{kept} AND day > ?")
        rows = self._database.rows(query, (*values, last_day, until, *kept_values, last_day))
        return [sum_of(row) for row in rows]

    def _edge(self, since: float | None) -> tuple[str, float] | None:
        """Up to which day calls after `since` have to be read one by one, and a time before which all calls of those days began."""
        first = self._database.rows(
            "SELECT day, started FROM calls WHERE started >= ? ORDER BY started LIMIT 1", (since,)
        )
        return (days.after(first[0][0]), first[0][1] + EDGE_S) if first else None

    def today(self) -> str:
        """The day that it is in the books, as a date: that against which a day's cap counts."""
        return days.today(self._database, self._clock())

    def total(
        self,
        session: str | None = None,
        run: str | None = None,
        turn: str | None = None,
        since: float | None = None,
    ) -> Total:
        """What the calls cost together; a lower bound where the cost of one is unknown."""
        return self.sums(session=session, run=run, turn=turn, since=since)[0].total

    def usage(
        self,
        session: str | None = None,
        run: str | None = None,
        turn: str | None = None,
        since: float | None = None,
    ) -> Usage:
        """The tokens of the calls together, as far as they were reported."""
        return self.sums(session=session, run=run, turn=turn, since=since)[0].usage

    def _clean(self, said: str | None) -> str | None:
        """What an endpoint said, without secrets: some repeat the key, and not only in their errors."""
        return None if said is None else self._redact(said)[:_LONGEST]


def new_id() -> str:
    """For a call."""
    return "c" + os.urandom(8).hex()


def _open(place: Path | str) -> Store:
    if isinstance(place, str):
        if not is_address(place):
            raise UsageError(
                f"{place[:80]!r} is no address of a database",
                remedy="write postgresql://USER@HOST:PORT/DATABASE",
                kind="database",
            )
        from agent.ledger.postgres import Postgres

        return Postgres(place)
    return Database(place)


_FIGURES = (
    "prompt_tokens = ?, cached_tokens = ?, cache_write_tokens = ?, completion_tokens = ?, reasoning_tokens = ?,"
    " counts_tokens = coalesce(?, reserved_tokens), counts_nano = coalesce(?, reserved_nano),"
    # What can cost nothing at most has cost nothing.
    " cost_nano = CASE WHEN reserved_nano = 0 THEN coalesce(?, 0) ELSE ? END,"
    " cost_source = CASE WHEN reserved_nano = 0 AND ? = 'unknown' THEN 'prices' ELSE ? END"
)
"""The part of an UPDATE that puts in tokens and cost, and with them what counts against caps."""


def _figures(usage: Usage | None, tokens: int | None, cost: int | None, source: str) -> tuple[object, ...]:
    """The values for `_FIGURES`. `tokens` is what counts where there is no usage; None: the reserved bound."""
    if cost is None:
        source = "unknown"
    if usage is None:
        return (None, None, None, None, None, tokens, cost, cost, cost, source, source)
    kinds = [
        min(max(count, 0), LARGEST_NANO)
        for count in (usage.prompt, usage.cached, usage.cache_write, usage.completion, usage.reasoning)
    ]
    return (*kinds, kinds[0] + kinds[3], cost, cost, cost, source, source)


def _plausible(nano: int | None) -> int | None:
    """An amount that an endpoint reported, or None for one that can't be: less than nothing would make room under a cap."""
    return nano if nano is not None and 0 <= nano <= LARGEST_NANO else None


def _refuse_negative(bound: Bound) -> None:
    if min(bound.prompt_tokens, bound.completion_tokens, bound.nano or 0) < 0:
        raise ValueError(f"a bound can't be negative: {bound}")


def _where(
    session: str | None,
    run: str | None,
    turn: str | None,
    since: float | None,
    day: str | None = None,
    *,
    account: str | None = None,
    kept: bool = False,
) -> tuple[str, list[object]]:
    conditions = ["TRUE" if kept else VISIBLE.format(row="")]
    values: list[object] = []
    scopes = (("session", session), ("run", run), ("turn", turn), ("day", day), ("account", account))
    for condition, value in (*((f"{name} = ?", value) for name, value in scopes), ("started >= ?", since)):
        if value is not None:
            conditions.append(condition)
            values.append(value)
    return " AND ".join(conditions), values
