"""A thousand clients at once, of two keys, over two workers of `moa serve`: what fails, and whether who has few clients waits behind who has many.

The endpoint takes `PLACES` calls at a time and answers none until all clients wait, so what is seen then is whose turn it is, however busy
the machine is.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from tests.bench.figures import Figure, median
from tests.bench.serve import CONFIG, KEY, ask, started
from tests.bench.serve_child import HELD_S

MANY, FEW = 900, 100
PLACES = 250
FAIR, MARGIN = 0.5, 0.1
"""Of the calls that go out while both wait, half are the key's with few clients. First come, first served, it would be none."""
Found = tuple[list[float], list[str]]


def measure(folder: Path, python: Path, rounds: int | None) -> Iterator[tuple[str, list[Figure]]]:
    """The figures."""
    del rounds
    moa = str(python.parent / "moa")
    places = {f"MOA_{name.upper()}_DIR": str(folder / name) for name in ("config", "state", "cache")}
    env = {**places, "UP_KEY": "upstream-key-0123456789", "MOA_SERVE_KEY": KEY}
    with ExitStack() as stack:
        _pid, line = stack.enter_context(started([sys.executable, "-m", "tests.bench.serve_child", "upstream"]))
        up = int(line)
        (folder / "config").mkdir(parents=True)
        text = CONFIG.format(port=up).replace("max_concurrency = 1000", f"max_concurrency = {PLACES}")
        (folder / "config" / "config.toml").write_text(text)
        keys = {name: _key(moa, env, name) for name in ("many", "few")}
        pid, line = stack.enter_context(
            started([moa, "serve", "--port", "0", "--workers", "2"], env, ready="listening")
        )
        port = int(line.rpartition(":")[2])
        (many, many_bad), (few, few_bad), took = asyncio.run(_crowd(port, up, keys))
        order = json.loads(_page(up, "/order"))
        workers = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    scripted = HELD_S * (MANY + FEW) / PLACES
    failed = [*many_bad, *few_bad]
    yield (
        f"crowd: {MANY + FEW} clients over {len(workers)} workers, {PLACES} places",
        [
            Figure("requests that failed", len(failed), "", 0, note="; ".join(sorted(set(failed)))[:80]),
            Figure("answers", len(many) + len(few), "", MANY + FEW, at_least=True),
            Figure(f"share of the key with {FEW} clients while both wait", _share(order), "", FAIR, MARGIN, at_least=True),
            Figure(f"median of the key with {FEW} clients ÷ with {MANY}", median(few) / median(many), "×"),
            Figure(f"slowest of the key with {FEW} clients", max(few, default=0.0), "s"),
            Figure(f"all of it, of its scripted {scripted:g} s", took / scripted, "×"),
        ],
    )  # fmt: skip


def _share(order: list[str]) -> float:
    """From the first call of the few to that in their middle: by then none of the workers has served all of its own."""
    at = [number for number, name in enumerate(order) if name == "few"][: FEW // 2]
    return len(at) / (at[-1] - at[0] + 1) if at else 0.0


def _key(moa: str, env: dict[str, str], name: str) -> str:
    words = [moa, "serve", "keys", "new", name]
    told = subprocess.run(words, env={**os.environ, **env}, capture_output=True, text=True, check=True).stdout
    return next(line.strip() for line in told.splitlines() if line.strip().startswith("moa-"))


async def _crowd(port: int, up: int, keys: dict[str, str]) -> tuple[Found, Found, float]:
    """The many come, then the few, then answers. What became of each, and seconds from the first answer on."""
    found: dict[str, Found] = {"many": ([], []), "few": ([], [])}
    asking: list[asyncio.Task[None]] = []
    for name, clients in (("many", MANY), ("few", FEW)):
        asks = (ask(port, "up:held-m", f"{name} {at}", 1, *found[name], keys[name]) for at in range(clients))
        asking += [asyncio.create_task(each) for each in asks]
        while await asyncio.to_thread(_running, port) < len(asking) and not found[name][1]:  # noqa: ASYNC110 - it is another process
            await asyncio.sleep(0.1)
    began = time.monotonic()
    await asyncio.to_thread(_page, up, "/go")
    await asyncio.gather(*asking)
    return found["many"], found["few"], time.monotonic() - began


def _running(port: int) -> float:
    page = re.search(r"^moa_requests_running (\S+)$", _page(port, "/metrics"), re.MULTILINE)
    return float(page[1]) if page else 0.0


def _page(port: int, path: str) -> str:
    asked = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers={"x-api-key": KEY})
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(asked, timeout=60) as answer:
        return str(answer.read().decode())
