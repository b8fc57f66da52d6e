"""The ledger's file: what is wrong with it is said in one clear error, and a killed program hides no call."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from agent.errors import StateError
from agent.ledger.book import OWNER_DIED, Ledger
from agent.ledger.database import Database, explained
from agent.ledger.owner import OUT_OF_SIGHT_S, lives, this_process
from agent.ledger.schema import MIGRATIONS
from agent.llm.accounting import Bound, CallContext, Cap, Settlement
from agent.llm.errors import BudgetReached
from agent.llm.request import ModelRef
from agent.llm.stream import Usage

MODEL = ModelRef("openrouter", "m")
CONTEXT = CallContext("main", session="s", run="r", turn="t")
BOUND = Bound(50, 50, 1_000)
ROOT = Path(__file__).parents[3]  # where a child finds this file


def refused(path: Path) -> StateError:
    with pytest.raises(StateError) as error:
        Ledger(path)
    assert str(path) in error.value.message
    assert error.value.remedy
    return error.value


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    path.write_bytes(b"this is a letter, not a ledger" * 99)
    assert "not a database" in refused(path).message
    assert path.read_bytes().startswith(b"this is a letter")


def test_a_database_of_another_program(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with sqlite3.connect(path) as theirs:
        theirs.execute("CREATE TABLE bookmarks (url)")
        theirs.execute("PRAGMA user_version = 1")
    theirs.close()
    assert "another program's" in refused(path).message
    with sqlite3.connect(path) as theirs:
        assert theirs.execute("SELECT name FROM sqlite_master").fetchall() == [("bookmarks",)]
    theirs.close()


def test_a_database_from_the_future(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    Database(path, [*MIGRATIONS, ("ALTER TABLE calls ADD COLUMN mood TEXT",)]).close()
    error = refused(path)
    assert f"schema {len(MIGRATIONS) + 1}; this one knows {len(MIGRATIONS)}" in error.message
    assert "update this program" in (error.remedy or "")


def test_a_damaged_database(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    Ledger(path).close()
    content = bytearray(path.read_bytes())
    content[4096:] = b"\x55" * (len(content) - 4096)
    content[100:4096] = b"\xff" * 3996
    path.write_bytes(content)
    with pytest.raises(StateError, match="it is damaged"):
        Ledger(path).reserve(MODEL, CONTEXT, BOUND)


def test_places_where_no_file_can_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    assert "can't make the folder" in refused(tmp_path / "file" / "state" / "ledger.db").message
    assert "can't be opened" in refused(tmp_path / "folder").message


def test_sqlite_s_own_errors_are_explained(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    Ledger(path).close()
    full = sqlite3.connect(path)
    full.execute("PRAGMA max_page_count = 1")
    with pytest.raises(StateError, match="the disk is full") as error, explained(path):
        full.execute("CREATE TABLE more (x)")
    assert "free some space" in (error.value.remedy or "")
    full.close()
    sealed = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    with pytest.raises(StateError, match="can't be written") as error, explained(path):
        sealed.execute("DELETE FROM calls")
    assert "writable" in (error.value.remedy or "")
    sealed.close()
    with pytest.raises(sqlite3.ProgrammingError), explained(path):  # our own mistake, not the file's
        sealed.execute("SELECT 1")


FILLS_UP = """
import resource, signal, sys
from tests.agent.ledger.test_ledger_file import *
ledger = Ledger(Path(sys.argv[1]))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
for number in range(10_000):
    try:
        call = ledger.reserve(MODEL, CONTEXT, BOUND)
        ledger.settle(call, Settlement("done", cost_nano=1, cost_source="reply"))
    except StateError as error:
        print(number, error.message)
        break
os._exit(0)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="a limit on a file's size, as setrlimit sets it")
def test_where_writing_fails_nothing_that_was_written_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    said = subprocess.run(
        [sys.executable, "-c", FILLS_UP, str(path)], check=True, capture_output=True, text=True, cwd=ROOT
    ).stdout
    number, message = said.split(" ", 1)
    assert f"can't use the ledger {path}: the disk" in message
    ledger = Ledger(path)
    assert ledger.total().known == int(number) > 0
    ledger.settle(ledger.reserve(MODEL, CONTEXT, BOUND), Settlement("done", cost_nano=1, cost_source="reply"))


def test_an_older_file_is_brought_up_to_date_and_keeps_its_rows(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    steps = [("CREATE TABLE things (name TEXT)",), ("ALTER TABLE things ADD COLUMN size INTEGER DEFAULT 7",)]
    old = Database(path, steps[:1])
    old.write("INSERT INTO things VALUES ('a')")
    old.close()
    for _ in range(2):  # the second time there is nothing left to do
        new = Database(path, steps)
        assert new.rows("SELECT name, size FROM things") == [("a", 7)]
        assert new.rows("PRAGMA user_version") == [(2,)]
        new.close()


def test_a_step_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    Database(path, [("CREATE TABLE things (name TEXT)",)]).close()
    with pytest.raises(StateError):
        Database(path, [("-",), ("CREATE TABLE more (x)", "CREATE TABLE things (name TEXT)")])
    old = Database(path, [("-",)])
    assert old.rows("SELECT name FROM sqlite_master") == [("things",)]
    assert old.rows("PRAGMA user_version") == [(1,)]


IN_MID_COUNSEL = """
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from tests.agent.ledger.test_ledger_file import *
ledger = Ledger(Path(sys.argv[1]))
made = {name: ledger.reserve(MODEL, CONTEXT, BOUND) for name in ("unsent", "sent", "answering", "settled")}
free = ledger.reserve(ModelRef("local", "m"), CONTEXT, Bound(50, 50, 0))
ledger.sent(made["sent"])
ledger.sent(made["answering"])
ledger.sent(made["answering"], generation_id="gen-7")
ledger.sent(made["settled"])
ledger.settle(made["settled"], Settlement("done", Usage(prompt=10, completion=10), 100, "reply"))
ledger.sent(free)
print(json.dumps({**made, "free": free}), flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="a zombie is told from a process through /proc")
def test_kill_9_leaves_no_call_unaccounted(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    child = subprocess.Popen(
        [sys.executable, "-c", IN_MID_COUNSEL, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    try:
        assert child.stdout is not None
        made = json.loads(child.stdout.readline())
        ledger = Ledger(path)
        assert ledger.sweep() == 0  # it lives: what it holds is its own
        child.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert ledger.sweep() == 4  # dead, though nobody has collected it yet
    finally:
        child.kill()
        child.communicate()
    rows = {row.id: row for row in ledger.calls()}
    assert {name: rows[call].outcome for name, call in made.items() if call in rows} == {
        "sent": "unknown",
        "answering": "unknown",
        "settled": "done",
        "free": "unknown",
    }
    assert rows[made["sent"]].error_kind == OWNER_DIED
    assert (rows[made["sent"]].cost_nano, rows[made["free"]].cost_nano) == (None, 0)
    assert (ledger.total().nano, ledger.total().unknown) == (100, 2)
    # What may have been billed counts in full; what was never sent does not.
    with pytest.raises(BudgetReached):
        ledger.reserve(MODEL, CallContext("main", run="r", caps=(Cap("run", "run", nano=2_100),)), Bound(1, 0, 1))
    ledger.release(
        ledger.reserve(MODEL, CallContext("main", run="r", caps=(Cap("run", "run", nano=2_101),)), Bound(1, 0, 1))
    )

    async def lookup(endpoint: str, generation_id: str) -> tuple[Usage, int] | None:
        assert (endpoint, generation_id) == ("openrouter", "gen-7")
        return Usage(prompt=40, completion=5), 600

    assert asyncio.run(ledger.reconcile(lookup)) == 1
    (priced,) = (row for row in ledger.calls() if row.id == made["answering"])
    assert (priced.outcome, priced.cost_nano, priced.cost_source, priced.completion_tokens) == (
        "unknown",
        600,
        "generation",
        5,
    )
    assert (ledger.total().nano, ledger.total().unknown) == (700, 1)
    assert ledger.sweep() == 0


def test_one_who_was_taken_for_dead_may_still_settle(tmp_path: Path) -> None:
    late = {"now": 1_000_000.0}
    ledger = Ledger(tmp_path / "l.db", clock=lambda: late["now"])
    call = ledger.reserve(MODEL, CONTEXT, BOUND)
    ledger.sent(call)
    # Its owner is moved out of our sight, as if it ran in another container.
    with sqlite3.connect(tmp_path / "l.db") as hand:
        hand.execute("UPDATE calls SET owner = '7.1@elsewhere/abc/[1]'")
    hand.close()
    assert ledger.sweep() == 0
    late["now"] += OUT_OF_SIGHT_S + 1
    assert ledger.sweep() == 1
    ledger.settle(call, Settlement("done", cost_nano=5, cost_source="reply"))
    assert [(row.outcome, row.cost_nano, row.error_kind) for row in ledger.calls()] == [("done", 5, None)]


def test_an_owner_is_told_by_more_than_its_number() -> None:
    me = this_process()
    assert lives(me, 0)
    process, _, place = me.partition("@")
    number, _, start = process.partition(".")
    host, boot, namespace = place.rsplit("/", 2)
    if start:
        assert not lives(f"{number}.{int(start) - 1}@{place}", 0)  # the number was used before
    assert not lives(f"999999999.{start}@{place}", 0)
    assert not lives(f"{number}.{start}@{host}/before/{namespace}", 0)  # the machine was started anew
    other_container = f"{number}.{start}@{host}-2/{boot}/[2]"
    assert lives(other_container, OUT_OF_SIGHT_S - 1)
    assert not lives(other_container, OUT_OF_SIGHT_S + 1)


def test_many_may_make_the_same_file_at_the_same_moment(tmp_path: Path) -> None:
    together = threading.Barrier(8)

    def open_and_use(path: Path) -> None:
        together.wait(timeout=10)
        ledger = Ledger(path)
        ledger.settle(ledger.reserve(MODEL, CONTEXT, BOUND), Settlement("done", cost_nano=1, cost_source="reply"))
        ledger.close()

    with ThreadPoolExecutor(8) as pool:
        for number in range(20):
            path = tmp_path / str(number) / "ledger.db"
            list(pool.map(open_and_use, [path] * 8))
            assert Ledger(path).total().known == 8
