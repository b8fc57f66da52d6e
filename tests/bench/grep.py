"""The tool `grep` beside ripgrep itself, on one tree in one run."""

from __future__ import annotations

import asyncio
import random
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from agent.files.deny_paths import DenyPaths
from agent.tools.base import ToolContext
from agent.tools.lib.search import search
from tests.bench.figures import Figure

FILES = 12_000
ROUNDS = 7
MOST_RATIO = 1.5
WORDS = ["alpha", "beta", "gamma", "delta", "lambda", "return", "import", "class", "def", "value"]
PATTERNS = ("needle_here", "nothing_at_all", "lambda.*needle")


def measure(folder: Path, _python: Path, rounds: int | None) -> Iterator[tuple[str, list[Figure]]]:
    """One table: how many times as long as ripgrep alone the tool takes, the shortest of some rounds of both in turn."""
    ripgrep = shutil.which("rg")
    if ripgrep is None:
        raise RuntimeError("ripgrep is not installed")
    work = folder / "tree"
    _plant(work)
    context = ToolContext(cwd=work, scratch=folder / "scratch", deny_paths=DenyPaths((".env", "**/secrets/**"), work))
    rows = []
    for pattern in PATTERNS:
        alone, ours = [], []
        for _ in range(rounds or ROUNDS):
            alone.append(_timed(partial(_alone, ripgrep, pattern, work)))
            ours.append(_timed(partial(_ours, context, work, pattern, ripgrep)))
        note = f"{1000 * min(ours):.0f} ms beside {1000 * min(alone):.0f} ms"
        rows.append(Figure(pattern, min(ours) / min(alone), "×", MOST_RATIO, margin=0.3, note=note))
    yield f"grep in {FILES:,} files", rows


def _plant(work: Path) -> None:
    chance = random.Random(1)
    for number in range(FILES):
        place = work / "src" / f"pkg{number // 200}" / f"mod{number % 17}"
        place.mkdir(parents=True, exist_ok=True)
        text = "".join(" ".join(chance.choices(WORDS, k=8)) + "\n" for _ in range(80))
        (place / f"file{number}.py").write_text(text + ("the needle_here is\n" if number % 400 == 0 else ""))
    git = ["git", "-C", str(work), "-c", "user.email=a@b", "-c", "user.name=x"]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "x"]):
        subprocess.run([*git, *words], check=True)


def _alone(ripgrep: str, pattern: str, work: Path) -> None:
    subprocess.run([ripgrep, "--no-config", "-n", pattern, "."], cwd=work, capture_output=True, check=False)


def _ours(context: ToolContext, work: Path, pattern: str, ripgrep: str) -> None:
    asyncio.run(search(context, work, pattern, ripgrep))


def _timed(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
