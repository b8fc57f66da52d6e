"""Foreign input, mutated at random: nothing raises outside of the error tree, hangs, takes memory without bound, or loses what came.

A kind of input is a row in `KINDS`. Each gives an async context that answers, for a seed, with what is wrong (`WORD: what`) or None.
"""

from __future__ import annotations

import asyncio
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from tests.bench.figures import Figure
from tests.support.fuzzed_files import Sessions, Settings
from tests.support.fuzzed_streams import Streams


class Fuzzer(Protocol):
    """Tries one seed after the other."""

    async def run(self, seed: int) -> str | None:
        """What is wrong, beginning with one word for its kind; None where all is well."""
        ...

    async def aclose(self) -> None:
        """Give back what it holds."""
        ...


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


# How many are tried by default, and what tries them in a folder of its own.
KINDS: dict[str, tuple[int, Callable[[Path], Fuzzer]]] = {
    "streams": (100_000, lambda _folder: Streams()),
    "session files": (5_000, lambda folder: Sessions(_made(folder / "sessions"))),
    "configs and presets": (2_000, lambda folder: Settings(_made(folder / "settings"))),
}
WRONG = ("escaped", "hung", "lost", "bricked")
MOST_GROWTH_MB = 200.0
_TOLD = 20


def measure(folder: Path, _python: Path, rounds: int | None) -> Iterator[tuple[str, list[Figure]]]:
    """One table a kind."""
    for kind, (count, make) in KINDS.items():
        yield _table(kind, rounds or count, make(folder))


def _table(kind: str, count: int, fuzzer: Fuzzer) -> tuple[str, list[Figure]]:
    began, before = time.monotonic(), _peak_mb()
    problems = asyncio.run(tried(fuzzer, range(count)))
    for seed, problem in list(problems.items())[:_TOLD]:
        print(f"  {kind} {seed}: {problem}", file=sys.stderr, flush=True)
    words = Counter(problem.partition(":")[0] for problem in problems.values())
    seconds = time.monotonic() - began
    rows = [Figure("tried", count, "", note=f"{seconds:.0f} s, {1000 * seconds / max(1, count):.1f} ms each")]
    rows += [Figure(word, words.pop(word, 0), "", 0) for word in WRONG]
    rows += [Figure(word, number, "", 0) for word, number in words.items()]
    rows.append(Figure("memory that was taken beside", _peak_mb() - before, "MB", MOST_GROWTH_MB))
    return f"mutated {kind}", rows


async def tried(fuzzer: Fuzzer, seeds: range) -> dict[int, str]:
    """What was wrong, by seed."""
    problems: dict[int, str] = {}
    try:
        for seed in seeds:
            if problem := await fuzzer.run(seed):
                problems[seed] = problem
            await asyncio.sleep(0)  # the loop throws cancelled timers away only when it comes round
    finally:
        await fuzzer.aclose()
    return problems


def _peak_mb() -> float:
    """The most memory that this process has had so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024 * 1024 if sys.platform == "darwin" else 1024)
