"""Rendering a conversation for a panel whose windows are known: 8 members, 2,000 messages, beside the older commit in one run."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.bench import older
from tests.bench.figures import Figure, median

ROUNDS = 5
NOW = Path(__file__).parents[2]
TARGET = 0.35

SCRIPT = """
import random, sys, time
from agent.llm.messages import Message, TextPart, ToolCallPart, assistant, system, user
from moa.panel import briefing

random.seed(1)
messages = [system("x")]
for n in range(500):
    call = ToolCallPart(id=f"c{n}", name="read", arguments='{"path": "a.txt"}')
    result = TextPart(text="line of text\\n" * random.randint(10, 400))
    messages += [user(f"do thing {n} " + "word " * random.randint(5, 80)), assistant("I look. " + "word " * 30, call)]
    messages += [Message(role="tool", parts=(result,), tool_name="read", tool_call_id=f"c{n}"), assistant("done " * 20)]
windows = (32_000, 64_000, 131_072, 200_000, 262_144, 400_000, 1_000_000, 1_048_576)
began = time.perf_counter()
if hasattr(briefing, "Rendering"):
    rendering = briefing.Rendering(messages)
    seen = [rendering.for_window(window, 2_500) for window in windows]
else:
    seen = [briefing.render(messages, window_tokens=window, reserve_tokens=2_500) for window in windows]
assert all(len(messages) > 1 for messages in seen)
print(time.perf_counter() - began)
"""


def measure(folder: Path, python: Path, rounds: int | None) -> Iterator[tuple[str, list[Figure]]]:
    """One table: now, before, and the ratio; the rounds alternate."""
    before = older.unpacked(folder / "older")
    times: dict[Path, list[float]] = {NOW: [], **({before: []} if before else {})}
    for _ in range(rounds or ROUNDS):
        for root, found in times.items():
            found.append(once(python, root))
    figures = [Figure("once for all members", median(times[NOW]) * 1e3, "ms")]
    if before:
        figures.append(Figure(f"once for each ({older.COMMIT})", median(times[before]) * 1e3, "ms"))
        figures.append(Figure("ratio", median(times[NOW]) / median(times[before]), "×", TARGET))
    yield "a conversation of 2,000 messages as text, for 8 members with windows of their own", figures


def once(python: Path, root: Path) -> float:
    """Seconds, in a process of its own with the program at `root`."""
    script = SCRIPT if root == NOW else older.spelt(SCRIPT)
    done = subprocess.run(
        [str(python), "-P", "-c", script], env={"PYTHONPATH": str(root)}, capture_output=True, text=True, check=True
    )
    return float(done.stdout)
