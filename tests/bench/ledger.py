"""The ledger: does it keep every row beside other programs, how long a million calls take to be told, and what the books cost a call.

`--rounds N` sets the rounds of the first table (default 1,000: about a quarter of an hour).
"""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from agent.ledger.book import Ledger
from agent.llm.accounting import Bound, CallContext, Cap, Settlement
from agent.llm.request import ModelRef
from agent.llm.stream import Usage
from tests.bench.figures import Figure
from tests.support.endpoint import ScriptedEndpoint
from tests.support.many_calls import fill
from tests.support.program import Program
from tests.support.rounds import rounds

ROUNDS = 1_000
MANY = 1_000_000
A_DAY = 100_000
TIMED = 400
CAPPED = CallContext("main", session="s", run="r", turn="t", caps=(Cap("day", "[budget] day_usd", nano=10**15),))


def measure(folder: Path, python: Path, number: int | None) -> Iterator[tuple[str, list[Figure]]]:
    """Three tables."""
    yield "two programs at one ledger", _together(folder / "rounds", python, number or ROUNDS)
    yield f"moa activity, {MANY:,} calls", _activity(folder / "activity", python)
    yield f"reserve, send, settle under a day's cap, {A_DAY:,} calls that day", _a_call(folder)


def _together(folder: Path, python: Path, number: int) -> list[Figure]:
    with ScriptedEndpoint() as endpoint:
        program = Program(folder, endpoint.base_url, executable=python.parent / "moa")
        try:
            found = rounds(program, endpoint, number)
        finally:
            program.close()
    return [
        Figure("requests that the endpoint saw", found.requests.total(), "", 2.0 * number, at_least=True),
        Figure("of these without a row", (found.requests - found.rows).total(), "", 0),
        Figure("rows without a request", (found.rows - found.requests).total(), "", 0),
        Figure("the file is damaged", float(found.integrity != "ok"), "", 0),
    ]


def _activity(folder: Path, python: Path) -> list[Figure]:
    program = Program(folder, executable=python.parent / "moa")
    ledger = program.state_dir / "ledger.db"
    fill(ledger, MANY, now=time.time())
    command = [str(program.executable), "activity"]
    _run(command, program)  # the file is in the system's cache for both
    new_s, new_mb = _run(command, program)
    since_s, since_mb = _run([*command, "--since", "1000d"], program)
    json_s, json_mb = _run([*command, "--json"], program)
    old_s, old_mb = _run([str(python), "-m", "tests.support.many_calls", str(ledger)], program, folder=Path.cwd())
    return [
        Figure("as commit 03c5d12 did it", old_s, "s", note=f"{old_mb:.0f} MB"),
        Figure("now", new_s, "s"),
        Figure("now, as a part of then", new_s / old_s, "×", 0.1),
        Figure("memory", new_mb, "MB", 80),
        Figure("with --since, so that all are read", since_s, "s", note=f"{since_mb:.0f} MB"),
        Figure("as JSON, with every call", json_s, "s", note=f"{json_mb:.0f} MB"),
    ]


def _run(command: Sequence[str], program: Program, folder: Path | None = None) -> tuple[float, float]:
    """Seconds and the largest resident size in MB of one run."""
    started = time.monotonic()
    child = subprocess.Popen(
        command,
        env=program.environment,
        cwd=folder or program.work_dir,
        stdout=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
    )
    _pid, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise RuntimeError(f"{command} ended with {child.returncode}")
    return time.monotonic() - started, used.ru_maxrss / 1024


def _a_call(folder: Path) -> list[Figure]:
    """Both ledgers in turns, so that what else the machine does hits both."""
    empty, full = folder / "empty.db", folder / "full.db"
    fill(full, A_DAY, now=time.time(), one_day=True)
    books = {"empty": Ledger(empty), "full": Ledger(full)}
    seconds: dict[str, list[float]] = {name: [] for name in books}
    for _ in range(TIMED):
        for name, ledger in books.items():
            started = time.perf_counter()
            call = ledger.reserve(ModelRef("fake", "m"), CAPPED, Bound(900, 100, 4_000_000))
            ledger.sent(call)
            ledger.settle(call, Settlement("done", Usage(800, 700, 0, 90), 2_500_000, "prices", duration_s=1.0))
            seconds[name].append(time.perf_counter() - started)
    for ledger in books.values():
        ledger.close()
    first, last = (1000 * statistics.median(seconds[name]) for name in ("empty", "full"))
    return [
        Figure("a call in an empty ledger", first, "ms"),
        Figure("a call in the full one", last, "ms"),
        Figure("as a multiple", last / first, "×", 1.5),
    ]
