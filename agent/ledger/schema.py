"""The ledger's tables, and what brings an older file up to date.

`calls` is the record; everything else follows from it by triggers, in the same transaction and whoever writes: `totals`, so that a cap
is checked in constant time, and `sums`, so that a million calls are added up without being read.
"""

from __future__ import annotations

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

_KEY = ("session", "day", "endpoint", "model_requested", "purpose", "slot")

VISIBLE = "({row}outcome <> 'reserved' OR {row}sent IS NOT NULL)"
"""A reservation that was not sent is no call yet."""

COUNTERS = {
    "calls": "1",
    "unfinished": "{row}outcome <> 'done'",
    "unreported": "{row}prompt_tokens IS NULL",
    "cost_nano": "coalesce({row}cost_nano, 0)",
    "known": "{row}cost_nano IS NOT NULL",
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


def _key(row: str) -> str:
    return ", ".join(_of(f"coalesce({{row}}{column}, '')", row) for column in _KEY)


def _add_to_totals(row: str, sign: str) -> str:
    nano, tokens = _of("coalesce({row}counts_nano, 0)", row), _of("{row}counts_tokens", row)
    values = ", ".join(f"('{scope}', {_of(key, row)}, {sign}{nano}, {sign}{tokens})" for scope, key in _SCOPES.items())
    return (
        f"INSERT INTO totals VALUES {values}"
        " ON CONFLICT (scope, key) DO UPDATE SET nano = nano + excluded.nano, tokens = tokens + excluded.tokens;"
    )


def _add_to_sums(row: str, sign: str) -> str:
    shares = ", ".join(f"{sign}({_of(share, row)})" for share in COUNTERS.values())
    more = ", ".join(f"{name} = {name} + excluded.{name}" for name in COUNTERS)
    return (
        f"INSERT INTO sums SELECT {_key(row)}, {row}.started, {shares} WHERE {_of(VISIBLE, row)}"
        f" ON CONFLICT ({', '.join(_KEY)}) DO UPDATE SET latest = max(latest, excluded.latest), {more};"
    )


def _fill_totals(scope: str) -> str:
    key = _of(_SCOPES[scope], "")
    return f"INSERT INTO totals SELECT '{scope}', {key}, coalesce(sum(counts_nano), 0), sum(counts_tokens) FROM calls GROUP BY 2"


def _fill_sums() -> str:
    shares = ", ".join(f"sum({_of(share, '')})" for share in COUNTERS.values())
    visible = _of(VISIBLE, "")
    return f"INSERT INTO sums SELECT {_key('')}, max(started), {shares} FROM calls WHERE {visible} GROUP BY 1, 2, 3, 4, 5, 6"


_FOLLOWING = (
    # What counts against the caps of a day, a session, a run.
    "CREATE TABLE totals (scope TEXT, key TEXT, nano INTEGER NOT NULL, tokens INTEGER NOT NULL, PRIMARY KEY (scope, key))"
    " WITHOUT ROWID",
    # The days of the ledger (days.py), Unix seconds.
    "CREATE TABLE days (day TEXT PRIMARY KEY, begins REAL NOT NULL, ends REAL NOT NULL) WITHOUT ROWID",
    f"CREATE TABLE sums ({', '.join(f'{name} TEXT' for name in _KEY)}, latest REAL NOT NULL,"
    f" {', '.join(f'{name} NUMERIC NOT NULL' for name in COUNTERS)}, PRIMARY KEY ({', '.join(_KEY)})) WITHOUT ROWID",
    *(_fill_totals(scope) for scope in _SCOPES),
    _fill_sums(),
    f"CREATE TRIGGER calls_made AFTER INSERT ON calls BEGIN {_add_to_totals('NEW', '')} {_add_to_sums('NEW', '')} END",
    "CREATE TRIGGER calls_counted AFTER UPDATE OF counts_nano, counts_tokens, day, session, run, owner ON calls"
    f" BEGIN {_add_to_totals('OLD', '-')} {_add_to_totals('NEW', '')} END",
    f"CREATE TRIGGER calls_changed AFTER UPDATE ON calls BEGIN {_add_to_sums('OLD', '-')} {_add_to_sums('NEW', '')} END",
    f"CREATE TRIGGER calls_gone AFTER DELETE ON calls BEGIN {_add_to_totals('OLD', '-')} {_add_to_sums('OLD', '-')} END",
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

MIGRATIONS: tuple[tuple[str, ...], ...] = (_CALLS, _FOLLOWING, _SERVED, _KEPT)
"""What brings a file from one schema version (its `user_version`) to the next. Steps are only ever added."""
