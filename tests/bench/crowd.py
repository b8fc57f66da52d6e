"""A thousand clients at once, of two keys, over two workers of `moa serve`: what fails, and whether who has few clients waits behind who has many.

The endpoint takes `PLACES` calls at a time and answers after `serve_child.SLOW_S` seconds, so most of the clients wait.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from tests.bench.figures import Figure, median
from tests.bench.serve import CONFIG, KEY, ask, load, started
from tests.bench.serve_child import SLOW_S

MANY, FEW = 900, 100
PLACES = 250
FAIR, MARGIN = 0.5, 0.2
"""Taking turns, the few have half of the places as long as there are any of them. First come, first served, they would wait for all others: 1.2."""


def measure(folder: Path, python: Path, rounds: int | None) -> Iterator[tuple[str, list[Figure]]]:
    """The figures."""
    del rounds
    moa = str(python.parent / "moa")
    places = {f"MOA_{name.upper()}_DIR": str(folder / name) for name in ("config", "state", "cache")}
    env = {**places, "UP_KEY": "upstream-key-0123456789", "MOA_SERVE_KEY": KEY}
    with ExitStack() as stack:
        _pid, line = stack.enter_context(started([sys.executable, "-m", "tests.bench.serve_child", "upstream"]))
        (folder / "config").mkdir(parents=True)
        text = CONFIG.format(port=int(line)).replace("max_concurrency = 1000", f"max_concurrency = {PLACES}")
        (folder / "config" / "config.toml").write_text(text)
        keys = {name: _key(moa, env, name) for name in ("many", "few")}
        pid, line = stack.enter_context(
            started([moa, "serve", "--port", "0", "--workers", "2"], env, ready="listening")
        )
        port = int(line.rpartition(":")[2])
        began = time.monotonic()
        found = asyncio.run(_crowd(port, keys))
        took = time.monotonic() - began
        workers = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    (many, many_bad), (few, few_bad) = found
    scripted = SLOW_S * (MANY + FEW) / PLACES
    failed = [*many_bad, *few_bad]
    yield (
        f"crowd: {MANY + FEW} clients over {len(workers)} workers, {PLACES} places",
        [
            Figure("requests that failed", len(failed), "", 0, note="; ".join(sorted(set(failed)))[:80]),
            Figure("answers", len(many) + len(few), "", MANY + FEW, at_least=True),
            Figure(
                f"median of the key with {FEW} clients ÷ with {MANY}", median(few) / median(many), "×", FAIR, MARGIN
            ),
            Figure(f"slowest of the key with {FEW} clients", max(few, default=0.0), "s"),
            Figure(f"all of it, of its scripted {scripted:g} s", took / scripted, "×"),
        ],
    )


def _key(moa: str, env: dict[str, str], name: str) -> str:
    words = [moa, "serve", "keys", "new", name]
    told = subprocess.run(words, env={**os.environ, **env}, capture_output=True, text=True, check=True).stdout
    return next(line.strip() for line in told.splitlines() if line.strip().startswith("moa-"))


async def _crowd(
    port: int, keys: dict[str, str]
) -> tuple[tuple[list[float], list[str]], tuple[list[float], list[str]]]:
    """The many begin; the few come when the first of those are answered, and the others wait."""
    times: list[float] = []
    failed: list[str] = []
    asks = (ask(port, "up:slow-m", f"many {at}", 1, times, failed, keys["many"]) for at in range(MANY))
    many = asyncio.gather(*asks)
    while not times and not failed:  # noqa: ASYNC110 - lists have no event
        await asyncio.sleep(0.05)
    few = await load(port, FEW, 1, "up:slow-m", keys["few"])
    await many
    return (times, failed), few
