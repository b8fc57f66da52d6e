"""What a call may still cost: each cap against what counts in its scope.

What counts is a call's known cost; where none is known (the call is open, was cancelled, or nobody reported one), the bound that was
reserved for it. So caps hold as long as no call exceeds its own bound, however many start at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from agent.ledger.schema import NOBODY
from agent.llm.errors import BudgetReached
from agent.llm.money import show_usd

if TYPE_CHECKING:
    from agent.ledger.store import Store
    from agent.llm.accounting import Bound, CallContext, Cap, Scope

_NOUNS = {
    "run": "this run",
    "turn": "this turn",
    "session": "this session",
    "day": "today",
    "share": "its share of this turn",
    "account": "this key today",
}


def check(database: Store, context: CallContext, bound: Bound, *, day: str, owner: str) -> None:
    """Raise BudgetReached for the first cap that has no room for one more call of this bound.

    To be called inside a transaction. A cap of scope share holds only for calls that have a share. `day` is the local day, `owner`
    this process.
    """
    caps = [cap for cap in context.caps if cap.scope != "share" or context.share is not None]
    if bound.nano is None and not any(cap.tokens is not None for cap in caps):
        for cap in caps:
            if cap.nano is not None:
                raise BudgetReached(
                    f"{cap.where} can't be kept: the price of this call is not known, and no cap on tokens is set",
                    cap=cap.where,
                    remedy="set a cap on tokens too, or give the model's price in config.toml: "
                    '[endpoints.NAME.models."MODEL"] price = { prompt = …, completion = … }',
                )
    sums: dict[str, tuple[int, int]] = {}
    for cap in caps:
        where, values = _scope(cap, context, day, owner)
        if cap.scope not in sums:
            sums[cap.scope] = _counted(database, cap.scope, where, values)
        nano, tokens = sums[cap.scope]
        if cap.nano is not None and _too_much(nano, bound.nano, cap.nano):
            needed = "an amount that is not known" if bound.nano is None else show_usd(bound.nano)
            raise _reached(database, cap, "counts_nano", where, values, needed)
        if cap.tokens is not None and _too_much(tokens, bound.tokens, cap.tokens):
            raise _reached(database, cap, "counts_tokens", where, values, _tokens(bound.tokens))


def _counted(database: Store, scope: Scope, where: str, values: Sequence[str]) -> tuple[int, int]:
    """What counts in a scope, nano-dollars and tokens: the running total, where one is kept, else the sum over a turn's calls."""
    if scope in ("turn", "share"):
        return database.rows(
            f"SELECT coalesce(sum(counts_nano), 0), coalesce(sum(counts_tokens), 0) FROM calls WHERE {where}", values
        )[0]
    key = "/".join(values) if scope == "account" else values[0] or NOBODY + values[1]
    found = database.rows("SELECT nano, tokens FROM totals WHERE scope = ? AND key = ?", (scope, key))
    return found[0] if found else (0, 0)


def _too_much(counted: int, needed: int | None, limit: int) -> bool:
    if (
        needed is None
    ):  # another cap, on tokens, bounds this call; here all that can be said is whether the cap is used up
        return counted >= limit
    return needed > 0 and counted + needed > limit  # what is free for certain takes nothing from anybody


def _scope(cap: Cap, context: CallContext, day: str, owner: str) -> tuple[str, Sequence[str]]:
    """The scope as a condition. An empty id (a probe belongs to no turn) stands for all calls of this process with an empty one."""
    if cap.scope == "day":
        return "day = ?", (day,)
    if cap.scope == "account":
        return "account = ? AND day = ?", (context.account, day)
    column = "turn" if cap.scope == "share" else cap.scope
    scope_id = {"run": context.run, "turn": context.turn, "session": context.session}[column]
    where = f"{column} = ?"
    values: tuple[str, ...] = (scope_id,)
    if not scope_id:
        where, values = f"{where} AND owner = ?", (*values, owner)
    if cap.scope == "share":
        where, values = f"{where} AND share = ?", (*values, context.share or "")
    return where, values


def _reached(database: Store, cap: Cap, column: str, where: str, values: Sequence[str], needed: str) -> BudgetReached:
    counted, held = database.rows(
        f"SELECT coalesce(sum({column}), 0), coalesce(sum(CASE WHEN outcome = 'reserved' THEN {column} END), 0) FROM calls WHERE {where}",
        values,
    )[0]
    money = column == "counts_nano"
    limit = (cap.nano if money else cap.tokens) or 0

    def show(amount: int) -> str:
        return show_usd(amount) if money else _tokens(amount)

    under_way = f", held for calls under way {show(held)}" if held else ""
    return BudgetReached(
        f"{cap.where} leaves no room for this call: limit {show(limit)} for {_NOUNS[cap.scope]}, spent {show(counted - held)}{under_way}, "
        f"left {show(max(0, limit - counted))}, needed at most {needed}",
        cap=cap.where,
        remedy=f"raise {cap.where}, or use a cheaper model or a smaller max_tokens",
    )


def _tokens(count: int) -> str:
    return f"{count:,} tokens"
