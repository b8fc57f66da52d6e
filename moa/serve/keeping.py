"""What replies carry that a client's wire has no place for (`moa.serve.wires.kept`), kept in the ledger's database until it comes back."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from agent.ledger.patient import AFTER_S
from agent.text import foreign_json
from moa.serve.wires.kept import Kept, marks_of

if TYPE_CHECKING:
    from agent.ledger.book import Ledger
    from agent.llm.messages import Message

KEPT_S = 30 * 86400.0
"""So long after its last use it is kept."""
_AT_ONCE = 500


@dataclass(slots=True)
class Keeping:
    """Of all keys. `clock` gives Unix seconds."""

    ledger: Ledger
    clock: Callable[[], float] = time.time

    def find(self, key: str, marks: Sequence[str]) -> Mapping[str, Kept]:
        """What is known under these marks. Raises StateError."""
        found: dict[str, Kept] = {}
        for start in range(0, len(marks), _AT_ONCE):
            some = marks[start : start + _AT_ONCE]
            places = ", ".join("?" * len(some))
            query = f"SELECT mark, reply FROM served_kept WHERE key = ? AND mark IN ({places})"
            for mark, text in self.ledger.database.rows(query, (key, *some)):
                found[mark] = Kept.read(foreign_json.loads(text))
        return found

    async def keep(self, key: str, message: Message, mark: str) -> None:
        """A reply, before the client gets the last of it. Raises StateError."""
        kept = Kept.of(message)
        if kept is None:
            return
        text = json.dumps(kept.plain(), ensure_ascii=False, separators=(",", ":"))
        await self.ledger.patiently(partial(self._write, key, marks_of(message, mark), text), AFTER_S)

    def sweep(self) -> int:
        """Let go of what is too old. Returns how many there were."""
        return self.ledger.database.write("DELETE FROM served_kept WHERE made < ?", (self.clock() - KEPT_S,))

    def _write(self, key: str, marks: Sequence[str], text: str) -> None:
        database = self.ledger.database
        with database.transaction(alone=False):
            for mark in marks:
                database.write(
                    "INSERT INTO served_kept VALUES (?, ?, ?, ?)"
                    " ON CONFLICT (key, mark) DO UPDATE SET reply = excluded.reply, made = excluded.made",
                    (key, mark, text, self.clock()),
                )
