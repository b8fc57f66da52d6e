"""The keys of a team, in the ledger's database: of each its hash, never the key itself.

A key is 256 random bits, so one round of SHA-256 keeps it: there is nothing to guess. A revoked key stays as a row, because calls in the
ledger bear its id; its name is free again.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from agent.errors import StateError, UsageError
from agent.text import foreign_json
from moa.serve.guidance.rows import forget_key
from moa.serve.keys.account import Account

if TYPE_CHECKING:
    from agent.ledger.book import Ledger

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
FRESH_S = 1.0
"""So long a process goes by the list that it has read: a key that is made or revoked elsewhere counts after that."""

_COLUMNS = "id, name, hash, day_nano, day_tokens, models, presets, made"


@dataclass(frozen=True, slots=True)
class Kept:
    """A key as it is kept. `made` is a Unix time."""

    account: Account
    hash: bytes = field(repr=False)
    made: float


def digest(value: str) -> bytes:
    """The hash of a key."""
    return hashlib.sha256(value.encode("utf-8", "surrogatepass")).digest()


def make(
    ledger: Ledger, name: str, *, day_nano: int | None = None, day_tokens: int | None = None,
    models: Sequence[str] = (), presets: Sequence[str] = (),
) -> tuple[Account, str]:  # fmt: skip
    """A new key, and its value, which nobody can read again. Raises UsageError for a name that can't be or is taken, and StateError."""
    if not NAME.fullmatch(name):
        raise UsageError(
            f"{name[:80]!r} can't be the name of a key",
            remedy="use letters, digits and . _ @ -, at most 64 of them",
            kind="serve_key",
        )
    value = "moa-" + secrets.token_urlsafe(32)
    account = Account("k" + os.urandom(8).hex(), name, day_nano, day_tokens, tuple(models), tuple(presets))
    made = ledger.database.write(
        f"INSERT INTO served_keys ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (
            *(account.id, name, digest(value), day_nano, day_tokens),
            *(json.dumps(account.models), json.dumps(account.presets), ledger.clock()),
        ),
    )
    if not made:
        raise UsageError(
            f"there is a key {name!r} already",
            remedy=f"moa serve keys revoke {name}, or use another name",
            kind="serve_key",
        )
    return account, value


def revoke(ledger: Ledger, name: str) -> Account:
    """From now on the key opens nothing, and what was inserted into its conversations is gone; its calls stay in the ledger. Raises
    UsageError for an unknown name, and StateError."""
    for kept in every(ledger):
        if kept.account.name == name:
            with ledger.database.transaction():
                ledger.database.write(
                    "UPDATE served_keys SET revoked = ? WHERE id = ?", (ledger.clock(), kept.account.id)
                )
                forget_key(ledger.database, kept.account.id)
                ledger.database.write("DELETE FROM served_kept WHERE key = ?", (kept.account.id,))
            return kept.account
    known = ", ".join(kept.account.name for kept in every(ledger)) or "none yet"
    raise UsageError(f"there is no key {name[:80]!r}", remedy=f"there are: {known}", kind="serve_key")


def every(ledger: Ledger) -> list[Kept]:
    """The keys that open, oldest first. Raises StateError."""
    query = f"SELECT {_COLUMNS} FROM served_keys WHERE revoked IS NULL ORDER BY made, id"
    return [_kept(*row) for row in ledger.database.rows(query)]


def _kept(
    id: str, name: str, hashed: bytes, nano: int | None, tokens: int | None, models: str, presets: str, made: float
) -> Kept:
    allowed = [tuple(map(str, foreign_json.loads(text))) for text in (models, presets)]
    return Kept(Account(id, name, nano, tokens, models=allowed[0], presets=allowed[1]), bytes(hashed), made)


def spent_today(ledger: Ledger, account: str) -> tuple[int, int]:
    """What counts against the budget of an account today: nano-dollars and tokens, what is held for calls under way included."""
    key = f"{account}/{ledger.today()}"
    found = ledger.database.rows("SELECT nano, tokens FROM totals WHERE scope = 'account' AND key = ?", (key,))
    return found[0] if found else (0, 0)


@dataclass(slots=True)
class Ring:
    """The keys as a server knows them: read again when they are `FRESH_S` old. `clock` is monotonic."""

    ledger: Ledger
    clock: Callable[[], float] = time.monotonic
    _keys: list[Kept] = field(default_factory=list)
    _read: float | None = None

    def find(self, given: str | None) -> Account | None:
        """Whose key this is. It is compared with each, whole, so that the time says nothing about any of them."""
        theirs, found = digest(given or ""), None
        for kept in self._keys:
            if secrets.compare_digest(kept.hash, theirs):
                found = kept.account
        return found

    async def refresh(self) -> None:
        """Read the list, where it is too old. Raises StateError where it could never be read."""
        now = self.clock()
        if self._read is not None and now - self._read < FRESH_S:
            return
        try:
            self._keys = await self.ledger.patiently(partial(every, self.ledger), FRESH_S)
        except StateError:
            if self._read is None:
                raise
        self._read = now
