"""Every model call and what it cost; the caps that hold before a call is made.

`Ledger` is the books (book.py), over one SQLite file (database.py, its tables in schema.py); patient.py gives them to the client of
models. caps.py says what counts against a cap, days.py when a day begins, owner.py whether the process that made a reservation still
lives, rows.py what a query returns.
"""
