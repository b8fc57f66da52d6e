"""Replayed items of a bench beside a bare asyncio and SQLite loop in the same run, and what memory does meanwhile.

The bare loop does what can't be left out: it finds the stored answer, scores it, writes a call's row before and after in a transaction of its
own each (with the ledger's settings of SQLite), and a line of JSON, with as many tasks side by side.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.bench.figures import Figure

ITEMS = 100_000
EARLY = 10_000
SIDE_BY_SIDE = 16
MARGIN_MB = 10.0


def measure(folder: Path, python: Path, rounds: int | None) -> Iterator[tuple[str, Sequence[Figure]]]:
    """One table; `rounds` are items."""
    items = rounds or ITEMS
    write(folder, items)
    found = {}
    for kind in ("bare", "ours"):
        words = [str(python), "-m", "tests.bench.replays", kind, str(folder), str(items)]
        found[kind] = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
    bare, ours = found["bare"], found["ours"]
    assert round(bare["right"]) == round(ours["right"]), found
    grown = ours["mb"] - ours["early_mb"]
    yield (
        f"{items:,} replayed items",
        (
            Figure(
                "a bare asyncio and SQLite loop",
                bare["seconds"],
                "s",
                note=f"{1e6 * bare['seconds'] / items:.0f} µs an item",
            ),
            Figure(
                "moa bench, the same items",
                ours["seconds"],
                "s",
                note=f"{1e6 * ours['seconds'] / items:.0f} µs an item",
            ),
            Figure("the second ÷ the first", ours["seconds"] / bare["seconds"], "×", 2.0, 0.3, note="by the clock"),
            # On a machine that others keep busy the clock says who was let in: the two run one after the other.
            Figure("the second ÷ the first", ours["busy"] / bare["busy"], "×", target=2.0, note="processor time"),
            Figure(f"memory from item {EARLY:,} on", grown, "MB", target=MARGIN_MB),
        ),
    )


def write(folder: Path, items: int) -> None:
    """Questions of one's own and the stored answers to them."""
    with (folder / "items.jsonl").open("w") as own, (folder / "answers.jsonl").open("w") as stored:
        for number in range(items):
            prompt = f"Question {number}: what is {number} plus {number % 7}?"
            own.write(json.dumps({"id": str(number), "prompt": prompt, "expected": number + number % 7}) + "\n")
            text = f"I add them.\nAnswer: {number + number % (7 if number % 3 else 5)}"
            stored.write(json.dumps({"model": "m", "prompt": prompt, "text": text}) + "\n")


def megabytes() -> float:
    """What this process takes now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def bare(folder: Path, items: int) -> dict[str, float]:
    """The bare loop."""
    from moa.bench.scorers import score

    rows = [json.loads(line) for line in (folder / "items.jsonl").open()]
    answers = {row["prompt"]: row["text"] for row in map(json.loads, (folder / "answers.jsonl").open())}
    books = sqlite3.connect(folder / "bare.db", isolation_level=None)
    books.execute("PRAGMA journal_mode = WAL")
    books.execute("PRAGMA synchronous = NORMAL")
    books.execute(
        "CREATE TABLE calls (id TEXT PRIMARY KEY, run TEXT, model TEXT, outcome TEXT, tokens INTEGER, nano INTEGER, at REAL)"
    )
    books.execute("CREATE INDEX of_run ON calls (run)")
    out = (folder / "bare.jsonl").open("w")
    waiting, right = iter(rows), 0.0

    def book(query: str, values: tuple[object, ...]) -> None:
        books.execute("BEGIN IMMEDIATE")
        books.execute(query, values)
        books.execute("COMMIT")

    async def work() -> None:
        nonlocal right
        for row in waiting:
            book(
                "INSERT INTO calls VALUES (?, ?, ?, 'reserved', ?, ?, ?)", (row["id"], "r", "m", 100, 100, time.time())
            )
            await asyncio.sleep(0)
            text = answers[row["prompt"]]
            value = score(text, str(row["expected"]), "auto")
            book("UPDATE calls SET outcome = 'done', tokens = ?, nano = ? WHERE id = ?", (90, 90, row["id"]))
            out.write(json.dumps({"item": row["id"], "arm": "solo", "text": text, "score": value}) + "\n")
            out.flush()
            right += value

    async def all_of_them() -> None:
        async with asyncio.TaskGroup() as group:
            for _task in range(SIDE_BY_SIDE):
                group.create_task(work())

    started, busy = time.perf_counter(), time.process_time()
    asyncio.run(all_of_them())
    return {
        "seconds": time.perf_counter() - started,
        "busy": time.process_time() - busy,
        "right": right,
        "items": items,
    }


def ours(folder: Path, items: int) -> dict[str, float]:
    """The same items through the bench's engine, on an endpoint of stored answers, with the ledger."""
    from agent.client import make_client
    from agent.config.config import load_config
    from agent.ledger.book import Ledger
    from agent.llm.net.replay import replay_file
    from agent.llm.request import ModelRef
    from moa.bench import arms, engine, runs, suites
    from moa.bench.report import report

    env = {f"MOA_{kind}_DIR": str(folder / kind.lower()) for kind in ("CONFIG", "STATE", "CACHE")}
    (folder / "config").mkdir()
    answers = folder / "answers.jsonl"
    (folder / "config" / "config.toml").write_text(
        f'[endpoints.replay]\ndialect = "replay"\nanswers = "{answers}"\n'
        "[endpoints.replay.models.m]\nprice = { prompt = 1, completion = 2 }\n"
    )
    config = load_config(env)
    books = Ledger(config.paths.state / "ledger.db", redact=config.redact)
    suite = suites.load(str(folder / "items.jsonl"))
    chosen = arms.parse(["solo"], main=ModelRef("replay", "m"), preset=None)
    asked = {
        "arms": ["solo"],
        "items": [item.id for item in suite.items],
        "seed": 1,
        "suite": "s",
        "digest": "d",
        "date": "",
    }
    kept = runs.begin(config.paths.state / "bench", asked)
    early = 0.0

    def progress(done: int, _whole: int) -> None:
        nonlocal early
        if not early and done >= min(EARLY, items // 2):
            early = megabytes()

    async def go() -> None:
        client = make_client(config, books)
        await engine.run(client, suite, chosen, kept, progress=progress)
        await client.aclose()

    replay_file(str(answers))  # both have read their file before the clock starts
    started, busy = time.perf_counter(), time.process_time()
    asyncio.run(go())
    seconds, busy, now = time.perf_counter() - started, time.process_time() - busy, megabytes()
    (arm,) = report(kept)["arms"]
    books.close()
    right = arm["score"] * arm["n"]
    return {"seconds": seconds, "busy": busy, "right": right, "items": items, "early_mb": early, "mb": now}


if __name__ == "__main__":
    print(json.dumps({"bare": bare, "ours": ours}[sys.argv[1]](Path(sys.argv[2]), int(sys.argv[3]))))
