"""The ledger's tables, and what brings an older file up to date.

`calls` is the record; everything else follows from it by triggers, in the same transaction and whoever writes: `totals`, so that a cap
is checked in constant time, and `sums`, so that a million calls are added up without being read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

_CALLS = (
    # Times are Unix seconds, money is nano-dollars, NULL is unknown. `counts_*` is what the call takes from a cap: the figure that is
    # known, else the bound that was reserved. `sent` is NULL until the request goes out.
    """CREATE TABLE calls (
            id TEXT PRIMARY KEY, purpose TEXT NOT NULL, slot TEXT, share TEXT,
            session TEXT NOT NULL, run TEXT NOT NULL, turn TEXT NOT NULL, iteration INTEGER NOT NULL, day TEXT NOT NULL,
            endpoint TEXT NOT NULL, model_requested TEXT NOT NULL, model_served TEXT, provider TEXT, generation_id TEXT,
            prompt_tokens INTEGER, cached_tokens INTEGER, cache_write_tokens INTEGER, completion_tokens INTEGER,
            reasoning_tokens INTEGER, reserved_tokens INTEGER NOT NULL, reserved_nano INTEGER,
            cost_nano INTEGER, cost_source TEXT NOT NULL, ttft_s REAL, duration_s REAL,
            outcome TEXT NOT NULL, retries INTEGER NOT NULL, error_kind TEXT, error TEXT,
            started REAL NOT NULL, sent REAL, ended REAL, owner TEXT NOT NULL,
            counts_nano INTEGER, counts_tokens INTEGER NOT NULL)""",
    "CREATE INDEX calls_session ON calls (session, counts_nano, counts_tokens)",
    "CREATE INDEX calls_run ON calls (run, counts_nano, counts_tokens)",
    # A turn is summed from its index alone.
    "CREATE INDEX calls_turn ON calls (turn, share, counts_nano, counts_tokens)",
    "CREATE INDEX calls_day ON calls (day, counts_nano, counts_tokens)",
    # Small: open reservations and calls whose cost was never learned, which start-up looks for.
    "CREATE INDEX calls_unknown ON calls (outcome, started) WHERE cost_nano IS NULL",
)

NOBODY = "@"
"""What `totals` puts before the owner where a call belongs to no session or run (a probe): all such calls of one process."""

_SCOPES = {
    "day": "{row}day",
    "session": f"CASE {{row}}session WHEN '' THEN '{NOBODY}' || {{row}}owner ELSE {{row}}session END",
    "run": f"CASE {{row}}run WHEN '' THEN '{NOBODY}' || {{row}}owner ELSE {{row}}run END",
}

ACCOUNT_DAY = "{row}account || '/' || {row}day"
"""A day of one account, in `totals`. Calls of no account (all but those of `moa serve`) have no such row."""

_FIRST_KEY = ("session", "day", "endpoint", "model_requested", "purpose", "slot")
KEY = (*_FIRST_KEY, "account", "preset")
"""By what calls are added up in `sums`."""

VISIBLE = "({row}outcome <> 'reserved' OR {row}sent IS NOT NULL)"
"""A reservation that was not sent is no call yet."""

COUNTERS = {
    "calls": "1",
    "unfinished": "CASE WHEN {row}outcome <> 'done' THEN 1 ELSE 0 END",
    "unreported": "CASE WHEN {row}prompt_tokens IS NULL THEN 1 ELSE 0 END",
    "cost_nano": "coalesce({row}cost_nano, 0)",
    "known": "CASE WHEN {row}cost_nano IS NOT NULL THEN 1 ELSE 0 END",
    "prompt_tokens": "coalesce({row}prompt_tokens, 0)",
    "cached_tokens": "coalesce({row}cached_tokens, 0)",
    "cache_write_tokens": "coalesce({row}cache_write_tokens, 0)",
    "completion_tokens": "coalesce({row}completion_tokens, 0)",
    "reasoning_tokens": "coalesce({row}reasoning_tokens, 0)",
    "duration_s": "coalesce({row}duration_s, 0.0)",
}
"""What is added up of calls, in the order of `sums`' columns: the name, and a call's own share."""


def _of(expression: str, row: str) -> str:
    """An expression about one row: NEW, OLD, or the only one that there is."""
    return expression.format(row=f"{row}." if row else "")


def _key(row: str, columns: Sequence[str]) -> str:
    return ", ".join(_of(f"coalesce({{row}}{column}, '')", row) for column in columns)


def add_to_totals(row: str, sign: str, *, accounts: bool = True) -> str:
    """The statements that put a call into `totals`, or with a sign take it out."""
    nano, tokens = _of("coalesce({row}counts_nano, 0)", row), _of("{row}counts_tokens", row)
    values = ", ".join(f"('{scope}', {_of(key, row)}, {sign}{nano}, {sign}{tokens})" for scope, key in _SCOPES.items())
    more = " ON CONFLICT (scope, key) DO UPDATE SET nano = totals.nano + excluded.nano, tokens = totals.tokens + excluded.tokens;"
    found = f"INSERT INTO totals VALUES {values}{more}"
    if accounts:
        own = f"SELECT 'account', {_of(ACCOUNT_DAY, row)}, {sign}{nano}, {sign}{tokens} WHERE {row}.account <> ''"
        found += f" INSERT INTO totals {own}{more}"
    return found


def add_to_sums(row: str, sign: str, columns: Sequence[str] = KEY) -> str:
    """The statement that puts a call into `sums`, or with a sign takes it out."""
    shares = ", ".join(f"{sign}({_of(share, row)})" for share in COUNTERS.values())
    more = ", ".join(f"{name} = sums.{name} + excluded.{name}" for name in COUNTERS)
    latest = "CASE WHEN excluded.latest > sums.latest THEN excluded.latest ELSE sums.latest END"
    return (
        f"INSERT INTO sums SELECT {_key(row, columns)}, {row}.started, {shares} WHERE {_of(VISIBLE, row)}"
        f" ON CONFLICT ({', '.join(columns)}) DO UPDATE SET latest = {latest}, {more};"
    )


def _fill_totals(scope: str) -> str:
    key = _of(_SCOPES[scope], "")
    return f"INSERT INTO totals SELECT '{scope}', {key}, coalesce(sum(counts_nano), 0), sum(counts_tokens) FROM calls GROUP BY 2"


def _fill_sums(columns: Sequence[str]) -> str:
    shares = ", ".join(f"sum({_of(share, '')})" for share in COUNTERS.values())
    visible, places = _of(VISIBLE, ""), ", ".join(str(at + 1) for at in range(len(columns)))
    return f"INSERT INTO sums SELECT {_key('', columns)}, max(started), {shares} FROM calls WHERE {visible} GROUP BY {places}"


def _sums(columns: Sequence[str]) -> str:
    return (
        f"CREATE TABLE sums ({', '.join(f'{name} TEXT' for name in columns)}, latest REAL NOT NULL,"
        f" {', '.join(f'{name} NUMERIC NOT NULL' for name in COUNTERS)}, PRIMARY KEY ({', '.join(columns)})) WITHOUT ROWID"
    )


def _triggers(columns: Sequence[str], *, accounts: bool) -> Iterator[str]:
    def totals(row: str, sign: str) -> str:
        return add_to_totals(row, sign, accounts=accounts)

    def sums(row: str, sign: str) -> str:
        return add_to_sums(row, sign, columns)

    yield f"CREATE TRIGGER calls_made AFTER INSERT ON calls BEGIN {totals('NEW', '')} {sums('NEW', '')} END"
    yield (
        f"CREATE TRIGGER calls_counted AFTER UPDATE OF {', '.join(COUNTED)} ON calls"
        f" BEGIN {totals('OLD', '-')} {totals('NEW', '')} END"
    )
    yield f"CREATE TRIGGER calls_changed AFTER UPDATE ON calls BEGIN {sums('OLD', '-')} {sums('NEW', '')} END"
    yield f"CREATE TRIGGER calls_gone AFTER DELETE ON calls BEGIN {totals('OLD', '-')} {sums('OLD', '-')} END"


COUNTED = ("counts_nano", "counts_tokens", "day", "session", "run", "owner")
"""The columns on which `totals` depends."""

_FOLLOWING = (
    # What counts against the caps of a day, a session, a run.
    "CREATE TABLE totals (scope TEXT, key TEXT, nano INTEGER NOT NULL, tokens INTEGER NOT NULL, PRIMARY KEY (scope, key))"
    " WITHOUT ROWID",
    # The days of the ledger (days.py), Unix seconds.
    "CREATE TABLE days (day TEXT PRIMARY KEY, begins REAL NOT NULL, ends REAL NOT NULL) WITHOUT ROWID",
    _sums(_FIRST_KEY),
    *(_fill_totals(scope) for scope in _SCOPES),
    _fill_sums(_FIRST_KEY),
    *_triggers(_FIRST_KEY, accounts=False),
    # Sums need these no more; lists of calls, newest last, do.
    *(f"DROP INDEX calls_{name}" for name in ("session", "run", "day")),
    *(f"CREATE INDEX calls_{name} ON calls ({name}, started)" for name in ("session", "run")),
    "CREATE INDEX calls_started ON calls (started)",
)

_SERVED = (
    # What `moa serve` inserted into whose conversations (moa.serve.guidance.rows): nothing that a client wrote. A conversation with all its
    # branches lives and goes as a whole.
    "CREATE TABLE served_conversations (id TEXT PRIMARY KEY, key TEXT NOT NULL, upstream TEXT NOT NULL, used REAL NOT NULL,"
    " bytes INTEGER NOT NULL)",
    "CREATE TABLE served_replies (id TEXT PRIMARY KEY, conversation TEXT NOT NULL, path TEXT NOT NULL, place TEXT NOT NULL,"
    " lead TEXT NOT NULL, guidance TEXT, host TEXT NOT NULL, taken TEXT NOT NULL, counsel TEXT, ahead TEXT, turn INTEGER NOT NULL,"
    " step INTEGER NOT NULL, bare INTEGER NOT NULL, tools INTEGER NOT NULL, client TEXT NOT NULL, state TEXT NOT NULL,"
    " made REAL NOT NULL)",
    # Hashes, under the client's key and the upstream.
    "CREATE TABLE served_anchors (anchor BLOB NOT NULL, reply TEXT NOT NULL, PRIMARY KEY (anchor, reply)) WITHOUT ROWID",
    "CREATE INDEX served_conversations_used ON served_conversations (used)",
    "CREATE INDEX served_conversations_key ON served_conversations (key, upstream)",
    "CREATE INDEX served_replies_conversation ON served_replies (conversation)",
    "CREATE INDEX served_replies_taken ON served_replies (taken) WHERE taken <> ''",
    "CREATE INDEX served_replies_tools ON served_replies (client, made) WHERE tools",
    "CREATE INDEX served_anchors_reply ON served_anchors (reply)",
    "CREATE TRIGGER served_conversations_gone AFTER DELETE ON served_conversations"
    " BEGIN DELETE FROM served_replies WHERE conversation = OLD.id; END",
    "CREATE TRIGGER served_replies_gone AFTER DELETE ON served_replies"
    " BEGIN DELETE FROM served_anchors WHERE reply = OLD.id; END",
)

_KEPT = (
    # What replies carry that a client's wire has no place for (moa.serve.keeping), under the marks by which they come back.
    "CREATE TABLE served_kept (key TEXT NOT NULL, mark TEXT NOT NULL, reply TEXT NOT NULL, made REAL NOT NULL,"
    " PRIMARY KEY (key, mark)) WITHOUT ROWID",
    "CREATE INDEX served_kept_made ON served_kept (made)",
)

_ACCOUNTS = (
    # Whose key of `moa serve` a call was made for ('': nobody's), and with which preset; the keys themselves (moa.serve.keys).
    "ALTER TABLE calls ADD COLUMN account TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE calls ADD COLUMN preset TEXT NOT NULL DEFAULT ''",
    *(f"DROP TRIGGER calls_{name}" for name in ("made", "counted", "changed", "gone")),
    "DROP TABLE sums",
    _sums(KEY),
    _fill_sums(KEY),
    *_triggers(KEY, accounts=True),
    "CREATE INDEX calls_account ON calls (account, started) WHERE account <> ''",
    # Of a key its hash is kept, never the key. Times are Unix seconds, lists are JSON.
    "CREATE TABLE served_keys (id TEXT PRIMARY KEY, name TEXT NOT NULL, hash BLOB NOT NULL, day_nano INTEGER, day_tokens INTEGER,"
    " models TEXT NOT NULL, presets TEXT NOT NULL, made REAL NOT NULL, revoked REAL)",
    "CREATE UNIQUE INDEX served_keys_name ON served_keys (name) WHERE revoked IS NULL",
)

MIGRATIONS: tuple[tuple[str, ...], ...] = (_CALLS, _FOLLOWING, _SERVED, _KEPT, _ACCOUNTS)
"""What brings a file from one schema version (its `user_version`) to the next. Steps are only ever added."""
