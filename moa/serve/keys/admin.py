"""`moa serve keys list | new | revoke`: the keys of a team."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from agent.admin.report import Report
from agent.admin.sessions import configuration
from agent.errors import UsageError
from agent.ledger.book import Ledger
from agent.llm.money import NANO, nano_from_usd, show_usd
from agent.views import MarkdownView, TableView
from moa.serve import settings
from moa.serve.keys import ring
from moa.store.store import names

if TYPE_CHECKING:
    from agent.config.config import Config

NONE = "No key of a team yet: moa serve keys new NAME makes one. The server's own key opens it as before."


@contextmanager
def _opened(database: str | None) -> Iterator[tuple[Config, Ledger]]:
    config = configuration()
    own = settings.read(config.serve, config.paths.config_file)
    place = settings.database(database, own, os.environ) or config.paths.state / "ledger.db"
    ledger = Ledger(place, redact=config.redact)
    try:
        yield config, ledger
    finally:
        ledger.close()


def list_keys(database: str | None = None) -> Report:
    """The keys, what each may do, and what it has spent today. Never the keys themselves. `database`: see `settings.database`. Raises StateError."""
    with _opened(database) as (_config, ledger):
        found = [(kept, *ring.spent_today(ledger, kept.account.id)) for kept in ring.every(ledger)]
    data: dict[str, Any] = {"keys": []}
    rows = []
    for kept, nano, tokens in found:
        account = kept.account
        data["keys"].append(
            {
                "name": account.name,
                "id": account.id,
                "made": kept.made,
                "day_usd": None if account.day_nano is None else account.day_nano / NANO,
                "day_tokens": account.day_tokens,
                "models": list(account.models),
                "presets": list(account.presets),
                "today": {"usd": nano / NANO, "tokens": tokens},
            }
        )
        made = time.strftime("%Y-%m-%d", time.localtime(kept.made))
        budget = [show_usd(account.day_nano)] if account.day_nano is not None else []
        budget += [f"{account.day_tokens:,} tokens"] if account.day_tokens is not None else []
        rows.append(
            (
                *(account.name, made, f"{show_usd(nano)}, {tokens:,} tokens", ", ".join(budget) or "none"),
                *(", ".join(account.models) or "all", ", ".join(account.presets) or "all"),
            )
        )
    if not rows:
        return Report(MarkdownView(text=NONE), data)
    columns = ("key", "made", "today", "budget of a day", "models", "presets")
    note = "Today counts what is held for calls under way, too."
    return Report(TableView(columns=columns, rows=tuple(rows), note=note), data)


def new_key(
    name: str, *, day_usd: float | None, day_tokens: int | None, models: Sequence[str], presets: Sequence[str],
    database: str | None = None,
) -> Report:  # fmt: skip
    """A new key, shown this once. Raises UsageError for a name that can't be and for a preset that is not there, and StateError."""
    with _opened(database) as (config, ledger):
        known = names(config_dir=config.paths.config)
        for preset in presets:
            if preset not in known:
                raise UsageError(
                    f"there is no preset {preset!r}", remedy="moa preset list shows them", kind="unknown_preset"
                )
        for pattern in models:
            if ":" not in pattern:
                raise UsageError(
                    f"--models {pattern!r} names no endpoint",
                    remedy="write ENDPOINT:MODEL, for example openrouter:deepseek/*",
                    kind="unknown_model",
                )
        nano = None if day_usd is None else nano_from_usd(day_usd)
        account, value = ring.make(ledger, name, day_nano=nano, day_tokens=day_tokens, models=models, presets=presets)
    text = f"The key of {account.name}, shown this once:\n\n    {value}\n\nOnly its hash is kept. A running server takes it within a second."
    return Report(MarkdownView(text=text), {"name": account.name, "id": account.id, "key": value})


def revoke_key(name: str, database: str | None = None) -> Report:
    """From now on it opens nothing. Raises UsageError for an unknown one, and StateError."""
    with _opened(database) as (_config, ledger):
        account = ring.revoke(ledger, name)
    text = (
        f"The key of {account.name} opens nothing any more, within a second. Its calls stay in the ledger; guidance that was kept for "
        "its conversations is gone."
    )
    return Report(MarkdownView(text=text), {"name": account.name, "id": account.id, "revoked": True})
