"""The ledger's tables in PostgreSQL: the same as in SQLite (schema.py), whose expressions they are made of.

`rowid` is a column here, so that calls of the same moment have an order. A later version adds a step to `STEPS`.
"""

from __future__ import annotations

from agent.ledger.schema import COUNTED, COUNTERS, KEY, add_to_sums, add_to_totals

_ROWID = "rowid BIGINT GENERATED ALWAYS AS IDENTITY"
_CHANGED = " OR ".join(f"OLD.{name} IS DISTINCT FROM NEW.{name}" for name in COUNTED)

_CALLS = (
    f"""CREATE TABLE calls (
            id TEXT PRIMARY KEY, purpose TEXT NOT NULL, slot TEXT, share TEXT,
            session TEXT NOT NULL, run TEXT NOT NULL, turn TEXT NOT NULL, iteration BIGINT NOT NULL, day TEXT NOT NULL,
            endpoint TEXT NOT NULL, model_requested TEXT NOT NULL, model_served TEXT, provider TEXT, generation_id TEXT,
            prompt_tokens BIGINT, cached_tokens BIGINT, cache_write_tokens BIGINT, completion_tokens BIGINT,
            reasoning_tokens BIGINT, reserved_tokens BIGINT NOT NULL, reserved_nano BIGINT,
            cost_nano BIGINT, cost_source TEXT NOT NULL, ttft_s DOUBLE PRECISION, duration_s DOUBLE PRECISION,
            outcome TEXT NOT NULL, retries BIGINT NOT NULL, error_kind TEXT, error TEXT,
            started DOUBLE PRECISION NOT NULL, sent DOUBLE PRECISION, ended DOUBLE PRECISION, owner TEXT NOT NULL,
            counts_nano BIGINT, counts_tokens BIGINT NOT NULL, account TEXT NOT NULL DEFAULT '', preset TEXT NOT NULL DEFAULT '',
            {_ROWID})""",
    "CREATE INDEX calls_turn ON calls (turn, share, counts_nano, counts_tokens)",
    "CREATE INDEX calls_unknown ON calls (outcome, started) WHERE cost_nano IS NULL",
    "CREATE INDEX calls_session ON calls (session, started)",
    "CREATE INDEX calls_run ON calls (run, started)",
    "CREATE INDEX calls_started ON calls (started)",
    "CREATE INDEX calls_account ON calls (account, started) WHERE account <> ''",
    "CREATE TABLE totals (scope TEXT, key TEXT, nano BIGINT NOT NULL, tokens BIGINT NOT NULL, PRIMARY KEY (scope, key))",
    "CREATE TABLE days (day TEXT PRIMARY KEY, begins DOUBLE PRECISION NOT NULL, ends DOUBLE PRECISION NOT NULL)",
    f"CREATE TABLE sums ({', '.join(f'{name} TEXT' for name in KEY)}, latest DOUBLE PRECISION NOT NULL, "
    + ", ".join(f"{name} {'DOUBLE PRECISION' if name == 'duration_s' else 'BIGINT'} NOT NULL" for name in COUNTERS)
    + f", PRIMARY KEY ({', '.join(KEY)}))",
    f"""CREATE FUNCTION calls_follow() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF TG_OP = 'INSERT' THEN {add_to_totals("NEW", "")} {add_to_sums("NEW", "")}
            ELSIF TG_OP = 'DELETE' THEN {add_to_totals("OLD", "-")} {add_to_sums("OLD", "-")}
            ELSE
                IF {_CHANGED} THEN {add_to_totals("OLD", "-")} {add_to_totals("NEW", "")} END IF;
                {add_to_sums("OLD", "-")} {add_to_sums("NEW", "")}
            END IF;
            RETURN NULL;
        END $$""",
    "CREATE TRIGGER calls_follow AFTER INSERT OR UPDATE OR DELETE ON calls FOR EACH ROW EXECUTE FUNCTION calls_follow()",
)

_SERVED = (
    "CREATE TABLE served_conversations (id TEXT PRIMARY KEY, key TEXT NOT NULL, upstream TEXT NOT NULL, used DOUBLE PRECISION NOT NULL,"
    " bytes BIGINT NOT NULL)",
    # A row may be written in the same moment as its conversation goes (revoked, too old): nothing refers to what is not there.
    "CREATE TABLE served_replies (id TEXT PRIMARY KEY,"
    " conversation TEXT NOT NULL REFERENCES served_conversations ON DELETE CASCADE, path TEXT NOT NULL, place TEXT NOT NULL,"
    " lead TEXT NOT NULL, guidance TEXT, host TEXT NOT NULL, taken TEXT NOT NULL, counsel TEXT, ahead TEXT, turn BIGINT NOT NULL,"
    " step BIGINT NOT NULL, bare BOOLEAN NOT NULL, tools BOOLEAN NOT NULL, client TEXT NOT NULL, state TEXT NOT NULL,"
    f" made DOUBLE PRECISION NOT NULL, {_ROWID})",
    "CREATE TABLE served_anchors (anchor BYTEA NOT NULL, reply TEXT NOT NULL REFERENCES served_replies ON DELETE CASCADE,"
    " PRIMARY KEY (anchor, reply))",
    "CREATE INDEX served_conversations_used ON served_conversations (used)",
    "CREATE INDEX served_conversations_key ON served_conversations (key, upstream)",
    "CREATE INDEX served_replies_conversation ON served_replies (conversation)",
    "CREATE INDEX served_replies_taken ON served_replies (taken) WHERE taken <> ''",
    "CREATE INDEX served_replies_tools ON served_replies (client, made) WHERE tools",
    "CREATE INDEX served_anchors_reply ON served_anchors (reply)",
    "CREATE TABLE served_kept (key TEXT NOT NULL, mark TEXT NOT NULL, reply TEXT NOT NULL, made DOUBLE PRECISION NOT NULL,"
    " PRIMARY KEY (key, mark))",
    "CREATE INDEX served_kept_made ON served_kept (made)",
    "CREATE TABLE served_keys (id TEXT PRIMARY KEY, name TEXT NOT NULL, hash BYTEA NOT NULL, day_nano BIGINT, day_tokens BIGINT,"
    " models TEXT NOT NULL, presets TEXT NOT NULL, made DOUBLE PRECISION NOT NULL, revoked DOUBLE PRECISION)",
    "CREATE UNIQUE INDEX served_keys_name ON served_keys (name) WHERE revoked IS NULL",
)

STEPS: tuple[tuple[str, ...], ...] = ((*_CALLS, *_SERVED),)
"""What brings a database from one version to the next. Steps are only ever added."""
