"""Every model call and what it cost; the caps that hold before a call is made.

`Ledger` is the books (book.py), over one SQLite file (database.py). caps.py says what counts against a cap, owner.py whether the
process that made a reservation still lives, rows.py what a query returns.
"""

from __future__ import annotations

from agent.ledger.book import Ledger

__all__ = ["Ledger"]
